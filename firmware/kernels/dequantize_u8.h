/* Dequantization, uint8 to float32. The contract is in dequantize_u8.c. */
#ifndef TFLASH_DEQUANTIZE_U8_H
#define TFLASH_DEQUANTIZE_U8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_dequantize_u8_params {
  int32_t size; /* elements */
  float scale;
  int32_t zero_point;
};

void tflash_dequantize_u8(const struct tflash_dequantize_u8_params *p, const uint8_t *input, float *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_DEQUANTIZE_U8_H */
