/* The device's side of the frame protocol: lets a host identify the model, write its inputs, run it, read its outputs
 * and, in a trace build, every layer. docs/protocol.md describes the protocol, wire.h has its numbers. */
#ifndef TFLASH_FRAMES_H
#define TFLASH_FRAMES_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Answers frames until the port's stream ends (on a board: never), then returns 0. Call tflash_port_init() before, and
 * call this once: it has one static state of about 800 bytes, and calls model->init() itself. */
int tflash_frames_serve(const struct tflash_model *model, const char *board);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_FRAMES_H */
