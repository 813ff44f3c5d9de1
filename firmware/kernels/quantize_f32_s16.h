/* Quantization, float32 to int16. The contract is in quantize_f32_s16.c. */
#ifndef TFLASH_QUANTIZE_F32_S16_H
#define TFLASH_QUANTIZE_F32_S16_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_quantize_f32_s16_params {
  int32_t size; /* elements */
  float scale;
  int32_t zero_point;
};

void tflash_quantize_f32_s16(const struct tflash_quantize_f32_s16_params *p, const float *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_QUANTIZE_F32_S16_H */
