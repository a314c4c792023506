/* The same for a program on the host, which has a library; nothing is counted. */
#include <stdio.h>
#include <stdlib.h>

#include "hwt_sim.h"

void sim_write(const char *text, size_t length) { fwrite(text, 1, length, stdout); }
void sim_exit(int status) { exit(status); }
uint32_t sim_count(void) { return 0; }
