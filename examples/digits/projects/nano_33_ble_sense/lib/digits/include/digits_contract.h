/* What goes into digits and what comes out of it. Written by tensorflash 0.1.0. Do not edit. */
#ifndef DIGITS_CONTRACT_H
#define DIGITS_CONTRACT_H

#include "digits_model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Raw input: uint8 [8, 8, 1], channels last.
 *   real = raw * scale[channel] + offset[channel], rounded to float32 after each operation
 *   code = clamp(round(real / DIGITS_INPUT_0_SCALE) + DIGITS_INPUT_0_ZERO_POINT), ties away from zero
 * The channel is the last axis of the input; one value holds for all. */
#define DIGITS_RAW_ELEMENTS 64u
#define DIGITS_RAW_CHANNELS 1u
#define DIGITS_RAW_SCALE {6.25e-02f}
#define DIGITS_RAW_OFFSET {0.0e+00f}

/* Turns raw values into the model's input, bit for bit as it was done in training.
 * Both may be the same memory. */
void digits_preprocess(const uint8_t *raw, int8_t *input);

/* Names of the classes, UTF-8, in the order of the output. */
#define DIGITS_LABELS 10u
extern const char *const digits_labels[DIGITS_LABELS];

#ifdef __cplusplus
}
#endif

#endif /* DIGITS_CONTRACT_H */
