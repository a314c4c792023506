/* Start, output and instruction count on a Cortex-M55 under QEMU, through Arm semihosting. */
#include "hwt_sim.h"

extern unsigned char sim_stack[];
void sim_reset(void);

#define HERE(address) (*(volatile uint32_t *)(address))

static void sim_fault(void) { sim_exit(3); }

__attribute__((section(".vectors"), used)) static void (*const sim_vectors[16])(void) = {
    (void (*)(void))sim_stack, sim_reset, sim_fault, sim_fault, sim_fault, sim_fault, sim_fault, sim_fault,
    sim_fault, sim_fault, sim_fault, sim_fault, sim_fault, sim_fault, sim_fault, sim_fault,
};

static int32_t sim_call(int32_t number, const void *argument)
{
    register int32_t r0 __asm__("r0") = number;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void sim_write(const char *text, size_t length)
{
    static int32_t handle;
    if (!handle) {
        const uintptr_t console[3] = {(uintptr_t) ":tt", 4, 3}; /* standard output */
        handle = sim_call(1, console);
    }
    while (length > 0) { /* a pipe that is full takes a part, and says how much it has not taken */
        const uintptr_t block[3] = {(uintptr_t)handle, (uintptr_t)text, length};
        const size_t left = (size_t)sim_call(5, block);
        if (left > length)
            return;
        text += length - left;
        length = left;
    }
}

void sim_exit(int status)
{
    const uint32_t block[2] = {0x20026u, (uint32_t)status};
    sim_call(0x20, block);
    for (;;) {
    }
}

uint32_t sim_count(void) { return 0xFFFFFFu - HERE(0xE000E018); }

void sim_reset(void)
{
    HERE(0xE000ED88) |= 0xFu << 20; /* the vector and floating-point unit */
    __asm__ volatile("dsb\n isb" ::: "memory");
    HERE(0xE000E014) = 0xFFFFFFu; /* SysTick from its top, on the core's clock */
    HERE(0xE000E018) = 0;
    HERE(0xE000E010) = 5;
    sim_exit(main());
}
