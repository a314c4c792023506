/* Trains STEPS steps in slices of several budgets, and whole; prints "<budget> <calls> <crc>" of what was learned. Exits
 * with 1 where a function says what it should not. Runs on the host and on every simulated core. */
#include "hwt_net.h"
#include "hwt_samples.h"
#include "hwt_sim.h"

#define STEPS 10
#define ROWS (sizeof hwt_sample_x / sizeof hwt_sample_x[0])

static _Alignas(64) unsigned char arena[HWT_ARENA_BYTES];
static int wrong;

static void tell(uint32_t value, char after)
{
    char digits[11];
    size_t at = sizeof digits;
    digits[--at] = after;
    do
        digits[--at] = (char)('0' + value % 10u);
    while ((value /= 10u) && at > 0);
    sim_write(digits + at, sizeof digits - at);
}

static void expect(hwt_status found, hwt_status meant) { wrong |= found != meant; }

/* Of every budget the next, in turn: 0 stands for hwt_train_step. */
static void train(const uint32_t *budgets, uint32_t n)
{
    float loss[HWT_BATCH];
    hwt_bits16 z[HWT_BATCH * HWT_CLASSES];
    uint32_t calls = 0;
    expect(hwt_init(arena, sizeof arena), HWT_OK);
    for (uint32_t step = 0; step < STEPS; step++) {
        const hwt_bits16 *const x = hwt_sample_x[step % ROWS];
        const int32_t *const labels = hwt_sample_labels[step % ROWS];
        hwt_status found = HWT_MORE;
        while (found == HWT_MORE) {
            const uint32_t budget = budgets[calls++ % n];
            found = budget ? hwt_train_slice(arena, x, labels, 0.05f, loss, budget)
                           : hwt_train_step(arena, x, labels, 0.05f, loss);
            if (found == HWT_MORE) {
                expect(hwt_infer(arena, x, z), HWT_BUSY);
                expect(hwt_train_step(arena, x, labels, 0.05f, loss), HWT_BUSY);
                expect(hwt_commit(arena, 0), HWT_BUSY);
            }
        }
        expect(found, HWT_OK);
        expect(hwt_infer(arena, x, z), HWT_OK);
    }
    tell(budgets[0], ' ');
    tell(calls, ' ');
    tell(hwt_crc(0, arena, HWT_LEARNED_BYTES), '\n');
}

int main(void)
{
    static const uint32_t even[] = {0, 1, 1000, HWT_PART_CYCLES, HWT_STEP_CYCLES / 3, HWT_STEP_CYCLES, UINT32_MAX};
    static const uint32_t mixed[] = {7, 3000, 1, 1, 90000, 12, 500};
    for (size_t i = 0; i < sizeof even / sizeof even[0]; i++)
        train(even + i, 1);
    train(mixed, sizeof mixed / sizeof mixed[0]);
    /* A step that is given up leaves nothing. */
    float loss[HWT_BATCH];
    expect(hwt_train_slice(arena, hwt_sample_x[0], hwt_sample_labels[0], 0.05f, loss, 1), HWT_MORE);
    train(even, 1);
    return wrong;
}
