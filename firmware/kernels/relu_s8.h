/* Rectifier, int8. The contract is in relu_s8.c. */
#ifndef TFLASH_RELU_S8_H
#define TFLASH_RELU_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_relu_s8_params {
  int32_t size; /* elements */
  int32_t input_offset; /* -zero point of the input */
  int32_t multiplier;
  int32_t shift;
  int32_t output_offset; /* zero point of the output, the smallest code that comes out */
};

void tflash_relu_s8(const struct tflash_relu_s8_params *p, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_RELU_S8_H */
