#include "hwt_trainer.h"

/* Selects the weight of an output and an input, or the bias of an output. */
static void select_weight(const hwt_trainer_port *port, const hwt_trainer_net *net, uint32_t layer, uint32_t output,
                          uint32_t input)
{
    const hwt_trainer_layer *at = &net->layer[layer];
    const uint32_t lane = at->along ? output : input, along = at->along ? input : output;
    const uint32_t size = at->along ? at->in : at->out;
    const uint32_t word = at->first_word + lane / net->lanes * size + along;
    port->write(port->bus, HWT_PLACE, layer << HWT_PLACE_LAYER_SHIFT | word);
    port->write(port->bus, HWT_LANE, lane % net->lanes);
}

static void select_bias(const hwt_trainer_port *port, const hwt_trainer_net *net, uint32_t layer, uint32_t output)
{
    const uint32_t word = net->layer[layer].first_bias_word + output / net->lanes;
    port->write(port->bus, HWT_PLACE, HWT_PLACE_BIAS | layer << HWT_PLACE_LAYER_SHIFT | word);
    port->write(port->bus, HWT_LANE, output % net->lanes);
}

int hwt_trainer_check(const hwt_trainer_port *port, const hwt_trainer_net *net)
{
    if (port->read(port->bus, HWT_ID) != HWT_ID_VALUE)
        return HWT_OTHER_BLOCK;
    return port->read(port->bus, HWT_HASH) == net->hash ? HWT_OK : HWT_OTHER_BUILD;
}

void hwt_trainer_load(const hwt_trainer_port *port, const hwt_trainer_net *net, uint32_t layer,
                      const int16_t *weights, const int16_t *biases)
{
    const uint32_t in = net->layer[layer].in, out = net->layer[layer].out;
    for (uint32_t o = 0; o < out; o++) {
        for (uint32_t i = 0; i < in; i++) {
            select_weight(port, net, layer, o, i);
            port->write(port->bus, HWT_WEIGHT, (uint32_t)(int32_t)weights[o * in + i]);
        }
        select_bias(port, net, layer, o);
        port->write(port->bus, HWT_WEIGHT, (uint32_t)(int32_t)biases[o]);
    }
}

void hwt_trainer_read_back(const hwt_trainer_port *port, const hwt_trainer_net *net, uint32_t layer,
                           int16_t *weights, int16_t *biases)
{
    const uint32_t in = net->layer[layer].in, out = net->layer[layer].out;
    for (uint32_t o = 0; o < out; o++) {
        for (uint32_t i = 0; i < in; i++) {
            select_weight(port, net, layer, o, i);
            weights[o * in + i] = (int16_t)port->read(port->bus, HWT_WEIGHT);
        }
        select_bias(port, net, layer, o);
        biases[o] = (int16_t)port->read(port->bus, HWT_WEIGHT);
    }
}

void hwt_trainer_learn(const hwt_trainer_port *port, uint32_t first_step)
{
    port->write(port->bus, HWT_STEP, first_step);
    port->write(port->bus, HWT_CONTROL, HWT_CONTROL_LEARN);
}

void hwt_trainer_predict(const hwt_trainer_port *port)
{
    port->write(port->bus, HWT_CONTROL, 0);
}

void hwt_trainer_soft_reset(const hwt_trainer_port *port)
{
    const uint32_t learn = port->read(port->bus, HWT_CONTROL) & HWT_CONTROL_LEARN;
    port->write(port->bus, HWT_CONTROL, learn | HWT_CONTROL_SOFT_RESET);
}

int hwt_trainer_send(const hwt_trainer_port *port, const hwt_trainer_net *net, const int32_t *frame)
{
    port->send(port->bus, frame, net->layer[0].in + 1);
    if (port->read(port->bus, HWT_STATUS) & HWT_STATUS_ERROR) {
        port->write(port->bus, HWT_STATUS, HWT_STATUS_ERROR);
        return HWT_WRONG_FRAME;
    }
    return HWT_OK;
}

void hwt_trainer_result(const hwt_trainer_port *port, const hwt_trainer_net *net, int32_t *result)
{
    port->receive(port->bus, result, net->layer[net->layers - 1].out + 1);
}

int hwt_trainer_step(const hwt_trainer_port *port, const hwt_trainer_net *net, const int32_t *frame, int32_t *result)
{
    const int sent = hwt_trainer_send(port, net, frame);
    if (sent == HWT_OK)
        hwt_trainer_result(port, net, result);
    return sent;
}
