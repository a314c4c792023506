/* Instructions of each kernel that is no product, at two sizes: "kernel values count" a line.
 *
 * The values are those that hwtrain/program/cycles.py multiplies by the instructions of one. */
#include "hwt_sim.h"
#ifdef COUNT_FLOAT /* the kernels of float32 programs, and their products: "form m n k count" */
#include "hwt.h"
typedef float value;
#else
#include "hwt_net16.h"
typedef hwt_half value;
#endif

#define MOST 8192
static value x[MOST], y[MOST], z[MOST];
static float master[MOST];
static int32_t where[MOST], labels[72];
#ifndef COUNT_FLOAT
static int32_t scaling[4], counts[2];
static value patches[MOST];
static float room[MOST];
#endif

static void number(uint32_t value)
{
    char digits[11] = "          ";
    size_t at = 10;
    do
        digits[--at] = (char)('0' + value % 10u);
    while (value /= 10u);
    sim_write(" ", 1);
    sim_write(digits + at, 10 - at);
}

#define ONCE(name) __attribute__((noinline, unused)) static void name(int32_t n)
ONCE(vector_add) { hwt_vector_add(n, x, y, z); }
ONCE(vector_copy) { hwt_vector_copy(n, z, x); }
ONCE(relu_forward) { hwt_relu_forward(n, x, z); }
ONCE(relu_input_gradient) { hwt_relu_input_gradient(n, x, y, z); }
ONCE(bias_ones) { hwt_bias_ones(n, 1.0f, x, z); }
ONCE(bias_add) { hwt_bias_add(1, n / 16, 16, 0, x, y, z); }
ONCE(tanh_forward) { hwt_tanh_forward(n, x, z); }
ONCE(tanh_input_gradient) { hwt_tanh_input_gradient(n, x, y, z); }
ONCE(sigmoid_forward) { hwt_sigmoid_forward(n, x, z); }
ONCE(sigmoid_input_gradient) { hwt_sigmoid_input_gradient(n, x, y, z); }
/* n / 72 positions of 8 channels under a filter of 3 by 3 */
ONCE(im2col_im2col) { hwt_im2col_im2col(1, 8, n / 288, 4, n / 72, 1, 72, 3, 1, 1, x, z); }
ONCE(im2col_col2im) { hwt_im2col_col2im(n / 72, 1, 72, 1, 8, n / 288, 4, 3, 1, 1, x, z); }
ONCE(layout_channels_first) { hwt_layout_channels_first(1, n / 16, 16, x, z); }
ONCE(pool_max_forward) { hwt_pool_max_forward(1, n / 64, 8, 8, 4, 4, 2, x, z, where); }
ONCE(pool_max_input_gradient) { hwt_pool_max_input_gradient(1, n / 64, 4, 4, 8, 8, x, where, z); }
ONCE(pool_average_forward) { hwt_pool_average_forward(1, n / 64, 8, 8, 4, 4, 2, x, z); }
ONCE(pool_average_input_gradient) { hwt_pool_average_input_gradient(1, n / 64, 4, 4, 8, 8, 2, x, z); }
ONCE(softmax_ce_forward) { hwt_softmax_ce_forward(n / 16, 16, x, labels, master, master + MOST / 2); }
ONCE(softmax_ce_input_gradient) { hwt_softmax_ce_input_gradient(n / 16, 16, master, labels, master + MOST / 2); }
ONCE(mse_forward) { hwt_mse_forward(n / 16, 16, x, labels, master, master + MOST / 2); }
ONCE(mse_input_gradient) { hwt_mse_input_gradient(n / 16, 16, master, master + MOST / 2); }
#ifdef COUNT_FLOAT
#define OWN(what)
#else
ONCE(half_scaled) { hwt_half_scaled(1, n, master, scaling, z); }
/* n weights, and no pair: what is left is the update itself and the strips' own cost */
ONCE(half_add_to_master) { hwt_half_add_to_master(1, n / 64, 64, 0, 1.0f, z, master, x, y, scaling, counts); }
ONCE(half_add_compensated) { hwt_half_add_compensated(1, n / 64, 64, 0, 1.0f, z, z, x, y, scaling, counts); }
ONCE(half_add_at_random) { hwt_half_add_at_random(1, n / 64, 64, 0, 1.0f, 1, 2, 3, z, x, y, scaling, counts); }
ONCE(half_add_to_nearest) { hwt_half_add_to_nearest(1, n / 64, 64, 0, 1.0f, z, x, y, scaling, counts); }
/* Four filters of 3 by 3 over n / 9 positions of 4 channels, 16 in a row: 4 n values of patches. Products are
 * among these counts; who reads them knows what those take. */
#define WINDOW 4, n / 144, 16
ONCE(conv_forward) { hwt_conv_forward(1, 4, 36, 1, WINDOW, 4, n / 9, 36 * (n / 9), 3, 1, 1, x, y, z, patches); }
ONCE(conv_input_gradient)
{
    hwt_conv_input_gradient(1, 4, 36, 1, 4, n / 9, 4, n / 144, 16, 4 * (n / 9 + 144), 3, 1, 1, x, y, z, room);
}
ONCE(conv_gradient)
{
    hwt_conv_add_to_nearest(1, 4, 36, 1, WINDOW, 4, n / 9, 0, 1.0f, 3, 1, 1, z, x, y, scaling, counts, room);
}
ONCE(affine_add) { hwt_affine_add(1, n / 64, 64, x, y, z); }
/* n / 64 channels: 8 rows of 6 values and a zero on either side, 4 of each image */
ONCE(strip_cut) { hwt_strip_cut(1, n / 64, 10, 6, 8, 8, 1, 1, x, z); }
ONCE(strip_join) { hwt_strip_join(1, n / 64, 8, 6, 8, 8, 8, 4, 1, x, y, z); }
ONCE(strip_begin) { hwt_strip_begin(1, n / 64, 4, 8, 8, x, z); }
ONCE(strip_put) { hwt_strip_put(1, n / 64, 16, 8, 8, 4, z, x); }
ONCE(affine_scale) { hwt_affine_scale(n / 64, 1, 64, y, x, z); }
ONCE(norm_batch_forward) { hwt_norm_batch_forward(1, n / 64, 64, 0.1f, 1e-5f, x, master, room, z, y); }
ONCE(norm_frozen_forward) { hwt_norm_frozen_forward(1, n / 64, 64, 1e-5f, x, master, room, z, y); }
ONCE(norm_batch_input_gradient) { hwt_norm_batch_input_gradient(1, n / 64, 64, x, y, y, z); }
ONCE(norm_frozen_input_gradient) { hwt_norm_frozen_input_gradient(1, n / 64, 64, x, y, z); }
#define LEARN(what) \
    what(half_scaled) what(half_add_to_master) what(half_add_compensated) what(half_add_at_random) \
    what(half_add_to_nearest)
#define OWN(what) \
    what(conv_forward) what(conv_input_gradient) what(conv_gradient) what(affine_add) what(affine_scale) \
    what(strip_cut) what(strip_join) what(strip_begin) what(strip_put) \
    what(norm_batch_forward) what(norm_frozen_forward) what(norm_batch_input_gradient) \
    what(norm_frozen_input_gradient) LEARN(what)
#endif

#define EACH(what) \
    what(vector_add) what(vector_copy) what(relu_forward) what(relu_input_gradient) what(bias_ones) what(bias_add) \
    what(tanh_forward) what(tanh_input_gradient) what(sigmoid_forward) what(sigmoid_input_gradient) \
    what(im2col_im2col) what(im2col_col2im) what(layout_channels_first) what(pool_max_forward) \
    what(pool_max_input_gradient) what(pool_average_forward) what(pool_average_input_gradient) \
    what(softmax_ce_forward) what(softmax_ce_input_gradient) what(mse_forward) what(mse_input_gradient) \
    OWN(what)

#ifdef COUNT_FLOAT
static const int32_t products[][3] = {COUNT_SIZES};
__attribute__((noinline)) static void nt(int32_t m, int32_t n, int32_t k) { hwt_dense_read(1, n, k, m, x, y, z); }
__attribute__((noinline)) static void nn(int32_t m, int32_t n, int32_t k) { hwt_dense_read_t(1, k, n, m, x, y, z); }
__attribute__((noinline)) static void gradient(int32_t m, int32_t n, int32_t k)
{
    hwt_dense_add_outer(1, m, n, k, 0.5f, z, x, y);
}
#define PRODUCT(form) { \
        const uint32_t before = sim_count(); \
        form(products[p][0], products[p][1], products[p][2]); \
        const uint32_t count = sim_count() - before; \
        sim_write(#form, sizeof #form - 1); \
        for (int32_t i = 0; i < 3; i++) \
            number((uint32_t)products[p][i]); \
        number(count); \
        sim_write("\n", 1); }
#endif

int main(void)
{
    static const int32_t sizes[] = {576, 1152};
    for (int32_t i = 0; i < MOST; i++) {
        x[i] = y[i] = (value)(0x3C00 | i % 1024);
        master[i] = 0.5f;
#ifndef COUNT_FLOAT
        room[i] = 0.5f;
#endif
    }
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
#define MEASURE(name) { \
        const uint32_t before = sim_count(); \
        name(sizes[s]); \
        const uint32_t count = sim_count() - before; \
        sim_write(#name, sizeof #name - 1); \
        number((uint32_t)sizes[s]); \
        number(count); \
        sim_write("\n", 1); }
        EACH(MEASURE)
    }
#ifdef COUNT_FLOAT
    for (size_t p = 0; p < sizeof products / sizeof products[0]; p++) {
        PRODUCT(nn) PRODUCT(nt) PRODUCT(gradient)
    }
#endif
    return 0;
}
