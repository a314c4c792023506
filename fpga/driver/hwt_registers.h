/* Registers of an exported block, by byte offset: written by hwtrain, not to be edited. */
#ifndef HWT_REGISTERS_H
#define HWT_REGISTERS_H

#define HWT_ID_VALUE 0x48575431u

/* 0x48575431 */
#define HWT_ID 0x00u

/* of net, lanes, formats and rate: which build this is */
#define HWT_HASH 0x04u

/* what the block does */
#define HWT_CONTROL 0x08u
#define HWT_CONTROL_LEARN 0x00000001u /* samples are learned, not predicted alone */
#define HWT_CONTROL_LEARN_SHIFT 0
#define HWT_CONTROL_SOFT_RESET 0x00000002u /* drops samples on their way; weights and registers stay */
#define HWT_CONTROL_SOFT_RESET_SHIFT 1

/* what it is at */
#define HWT_STATUS 0x0cu
#define HWT_STATUS_BUSY 0x00000001u /* a sample or a weight is at work */
#define HWT_STATUS_BUSY_SHIFT 0
#define HWT_STATUS_ERROR 0x00000002u /* a frame was wrong; sticky, write 1 to clear */
#define HWT_STATUS_ERROR_SHIFT 1

/* number of the next learned step: it addresses the noise */
#define HWT_STEP 0x10u

/* samples done */
#define HWT_SAMPLES 0x14u

/* frames dropped */
#define HWT_ERRORS 0x18u

/* of the last sample */
#define HWT_CYCLES 0x1cu

/* of a weight */
#define HWT_PLACE 0x20u
#define HWT_PLACE_WORD 0x0000ffffu /* of the layer's memory */
#define HWT_PLACE_WORD_SHIFT 0
#define HWT_PLACE_LAYER 0x000f0000u /* 0 is the first */
#define HWT_PLACE_LAYER_SHIFT 16
#define HWT_PLACE_BIAS 0x80000000u /* a bias, not a weight */
#define HWT_PLACE_BIAS_SHIFT 31

/* of a weight */
#define HWT_LANE 0x24u

/* the weight at place and lane, sign-extended; waits until no sample is at work */
#define HWT_WEIGHT 0x28u

/* samples learned by a guess, since the last reset or soft reset */
#define HWT_HITS 0x2cu

/* samples learned exactly by a block that guesses, likewise */
#define HWT_MISSES 0x30u

#endif
