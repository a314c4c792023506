/* Start, output and instruction count on RV32 under Spike, through its host interface. */
#include "hwt_sim.h"

__attribute__((section(".tohost"), used, aligned(64))) volatile uint64_t tohost;
__attribute__((section(".tohost"), used, aligned(64))) volatile uint64_t fromhost;

__attribute__((naked, section(".start"), used)) void _start(void)
{
    __asm__ volatile(
        "la sp, sim_stack\n"
        "li t0, 0x6600\n" /* mstatus.FS and .VS: floating point and vectors on */
        "csrs mstatus, t0\n"
        "la t0, sim_trap\n"
        "csrw mtvec, t0\n"
        "call main\n"
        "call sim_exit\n");
}

__attribute__((used, aligned(4))) static void sim_trap(void) { sim_exit(3); }

void sim_write(const char *text, size_t length)
{
    static volatile uint64_t call[8] __attribute__((aligned(64)));
    call[0] = 64; /* write(1, text, length) */
    call[1] = 1;
    call[2] = (uintptr_t)text;
    call[3] = length;
    __asm__ volatile("fence" ::: "memory");
    fromhost = 0;
    tohost = (uintptr_t)call;
    while (fromhost == 0) {
    }
    fromhost = 0;
}

void sim_exit(int status)
{
    tohost = (uint64_t)(uint32_t)status << 1 | 1;
    for (;;) {
    }
}

uint32_t sim_count(void)
{
    uint32_t count;
    __asm__ volatile("csrr %0, minstret" : "=r"(count)::"memory");
    return count;
}
