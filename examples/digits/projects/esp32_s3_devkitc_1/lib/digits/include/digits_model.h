/* digits.tflite, compiled by tensorflash. Do not edit.
 * sha256 8bba6d8a1e5a5a8aec4fb23763b8c887084f09af99a2818c0fa9df6afcbd21fc */

#ifndef DIGITS_MODEL_H
#define DIGITS_MODEL_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DIGITS_ARENA_BYTES 1088u

/* serving_default_image:0: int8 [1, 8, 8, 1] */
#define DIGITS_INPUT_0_ELEMENTS 64u
#define DIGITS_INPUT_0_BYTES 64u
#define DIGITS_INPUT_0_SCALE 3.921569e-03f
#define DIGITS_INPUT_0_ZERO_POINT (-128)

/* StatefulPartitionedCall:0: int8 [1, 10] */
#define DIGITS_OUTPUT_0_ELEMENTS 10u
#define DIGITS_OUTPUT_0_BYTES 10u
#define DIGITS_OUTPUT_0_SCALE 3.90625e-03f
#define DIGITS_OUTPUT_0_ZERO_POINT (-128)

extern const struct tflash_model digits_model;

int digits_init(void);
int digits_invoke(void);
void *digits_input(uint8_t index);
const void *digits_output(uint8_t index);

#ifdef __cplusplus
}
#endif

#endif /* DIGITS_MODEL_H */
