/* What goes into sound and what comes out of it. Written by tensorflash 0.1.0. Do not edit. */
#ifndef SOUND_CONTRACT_H
#define SOUND_CONTRACT_H

#include "sound_model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Raw input: int16 [4], channels last.
 *   real = raw * scale[channel] + offset[channel], rounded to float32 after each operation
 * The channel is the last axis of the input; one value holds for all. */
#define SOUND_RAW_ELEMENTS 4u
#define SOUND_RAW_CHANNELS 4u
#define SOUND_RAW_SCALE {3.0517578e-05f}
#define SOUND_RAW_OFFSET {0.0e+00f}

/* Turns raw values into the model's input, bit for bit as it was done in training.
 * They must not overlap. */
void sound_preprocess(const int16_t *raw, float *input);

/* Names of the classes, UTF-8, in the order of the output. */
#define SOUND_LABELS 4u
extern const char *const sound_labels[SOUND_LABELS];

#ifdef __cplusplus
}
#endif

#endif /* SOUND_CONTRACT_H */
