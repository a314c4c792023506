/* What a program on a simulated core needs of it: text out, an end, and the instructions so far. */
#ifndef HWT_SIM_H
#define HWT_SIM_H

#include <stddef.h>
#include <stdint.h>

void sim_write(const char *text, size_t length);
void sim_exit(int status) __attribute__((noreturn));
/* A running count, of which differences are meant; its unit is sim_ticks ticks for sim_instructions. */
uint32_t sim_count(void);

int main(void);

#endif
