/* Rectifier with a slope for each element, int8. The contract is in prelu_s8.c. */
#ifndef TFLASH_PRELU_S8_H
#define TFLASH_PRELU_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_prelu_s8_params {
  int32_t shape[4]; /* of the output, outer to inner, 1 where unused */
  int32_t strides1[4]; /* of input1: elements from one index to the next, 0 where it repeats */
  int32_t strides2[4];
  int32_t offset1; /* -zero point of the input */
  int32_t offset2; /* -zero point of the slopes */
  int32_t multiplier; /* of what is not negative */
  int32_t shift;
  int32_t slope_multiplier; /* of the product with the slope */
  int32_t slope_shift;
  int32_t output_offset;
};

void tflash_prelu_s8(const struct tflash_prelu_s8_params *p, const int8_t *input, const int8_t *slopes, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_PRELU_S8_H */
