/* Driver of an exported block that learns on the chip: bare metal, C99, no library, no memory of its own.
 *
 * The registers are reached by read and write, the streams by send and receive: four functions of yours, since a
 * stream may hang on a DMA, a FIFO or a port. Codes are whole numbers with as many bits after the point as the
 * folder's README says. What returns int is 0 where all went well. */
#ifndef HWT_TRAINER_H
#define HWT_TRAINER_H

#include <stdint.h>

#include "hwt_registers.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { HWT_OK = 0, HWT_OTHER_BLOCK = 1, HWT_OTHER_BUILD = 2, HWT_WRONG_FRAME = 3 };

typedef struct {
    void *bus; /* given to each of the four */
    uint32_t (*read)(void *bus, uint32_t offset);
    void (*write)(void *bus, uint32_t offset, uint32_t value);
    void (*send)(void *bus, const int32_t *words, uint32_t count);  /* one frame, taken when it returns: TLAST with the last word */
    void (*receive)(void *bus, int32_t *words, uint32_t count);     /* one frame of so many words */
} hwt_trainer_port;

/* One layer, as hwt_net.h of the folder has it. along: the lanes lie along the outputs. */
typedef struct {
    uint32_t in, out, along, first_word, first_bias_word;
} hwt_trainer_layer;

typedef struct {
    uint32_t hash, lanes, layers;
    const hwt_trainer_layer *layer;
} hwt_trainer_net;

/* Whether this is a block of ours, and the one that hwt_net.h describes. */
int hwt_trainer_check(const hwt_trainer_port *port, const hwt_trainer_net *net);

/* All weights of a layer, (out, in) in C order, and its biases; between samples. */
void hwt_trainer_load(const hwt_trainer_port *port, const hwt_trainer_net *net, uint32_t layer,
                      const int16_t *weights, const int16_t *biases);
void hwt_trainer_read_back(const hwt_trainer_port *port, const hwt_trainer_net *net, uint32_t layer,
                           int16_t *weights, int16_t *biases);

/* Learn from now on, beginning with this step; or predict alone. */
void hwt_trainer_learn(const hwt_trainer_port *port, uint32_t first_step);
void hwt_trainer_predict(const hwt_trainer_port *port);

/* Drop what is on its way. */
void hwt_trainer_soft_reset(const hwt_trainer_port *port);

/* One sample: frame holds the inputs and then the label; result the scores, as before learning, and then the loss.
 * A block of mode lookahead gives a result when it has the next sample, or is asked for a weight or to predict: send
 * two samples before the first result is taken, and predict before the last one. */
int hwt_trainer_send(const hwt_trainer_port *port, const hwt_trainer_net *net, const int32_t *frame);
void hwt_trainer_result(const hwt_trainer_port *port, const hwt_trainer_net *net, int32_t *result);

/* Both, one after the other: not for a block of mode lookahead while it learns. */
int hwt_trainer_step(const hwt_trainer_port *port, const hwt_trainer_net *net, const int32_t *frame, int32_t *result);

#ifdef __cplusplus
}
#endif

#endif
