/* Dequantization, int16 to float32. The contract is in dequantize_s16.c. */
#ifndef TFLASH_DEQUANTIZE_S16_H
#define TFLASH_DEQUANTIZE_S16_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_dequantize_s16_params {
  int32_t size; /* elements */
  float scale;
  int32_t zero_point;
};

void tflash_dequantize_s16(const struct tflash_dequantize_s16_params *p, const int16_t *input, float *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_DEQUANTIZE_S16_H */
