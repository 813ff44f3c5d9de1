/* Raw values to a model's input, by the normalisation's formula. The contract is in preprocess_affine.c. */
#ifndef TFLASH_PREPROCESS_AFFINE_H
#define TFLASH_PREPROCESS_AFFINE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum tflash_preprocess_type {
  TFLASH_PREPROCESS_S8 = 0,
  TFLASH_PREPROCESS_U8 = 1,
  TFLASH_PREPROCESS_S16 = 2,
  TFLASH_PREPROCESS_F32 = 3
};

struct tflash_preprocess_affine_params {
  int32_t places;
  int32_t channels;
  int32_t place_stride; /* of raw, elements */
  int32_t channel_stride;
  int32_t raw_type; /* enum tflash_preprocess_type: U8, S16 or F32 */
  int32_t output_type; /* any of them */
  const float *scale; /* [channels] */
  const float *offset; /* [channels] */
  float input_scale; /* of the model's input, if it is quantized */
  int32_t zero_point;
};

void tflash_preprocess_affine(const struct tflash_preprocess_affine_params *p, const void *raw, void *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_PREPROCESS_AFFINE_H */
