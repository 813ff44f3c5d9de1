/* What goes into camera and what comes out of it. Written by tensorflash 0.1.0. Do not edit. */
#ifndef CAMERA_CONTRACT_H
#define CAMERA_CONTRACT_H

#include "camera_model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Raw input: uint8 [3, 2, 2], channels first.
 *   real = raw * scale[channel] + offset[channel], rounded to float32 after each operation
 *   code = clamp(round(real / CAMERA_INPUT_0_SCALE) + CAMERA_INPUT_0_ZERO_POINT), ties away from zero
 * The channel is the last axis of the input; one value holds for all. */
#define CAMERA_RAW_ELEMENTS 12u
#define CAMERA_RAW_CHANNELS 3u
#define CAMERA_RAW_SCALE {1.7123288e-02f, 1.7513135e-02f, 1.7421603e-02f}
#define CAMERA_RAW_OFFSET {-2.1e+00f, -2.0e+00f, -1.8e+00f}

/* Turns raw values into the model's input, bit for bit as it was done in training.
 * They must not overlap. */
void camera_preprocess(const uint8_t *raw, int8_t *input);

/* Names of the classes, UTF-8, in the order of the output. */
#define CAMERA_LABELS 12u
extern const char *const camera_labels[CAMERA_LABELS];

#ifdef __cplusplus
}
#endif

#endif /* CAMERA_CONTRACT_H */
