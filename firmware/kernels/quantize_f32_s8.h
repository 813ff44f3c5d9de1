/* Quantization, float32 to int8. The contract is in quantize_f32_s8.c. */
#ifndef TFLASH_QUANTIZE_F32_S8_H
#define TFLASH_QUANTIZE_F32_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_quantize_f32_s8_params {
  int32_t size; /* elements */
  float scale;
  int32_t zero_point;
};

void tflash_quantize_f32_s8(const struct tflash_quantize_f32_s8_params *p, const float *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_QUANTIZE_F32_S8_H */
