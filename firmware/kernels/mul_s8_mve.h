/* Product of two tensors for Helium, int8. The contract is in mul_s8_mve.c. */
#ifndef TFLASH_MUL_S8_MVE_H
#define TFLASH_MUL_S8_MVE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_mul_s8_mve_params {
  int32_t shape[4]; /* of the output, outer to inner, 1 where unused */
  int32_t strides1[4]; /* of input1: elements from one index to the next, 0 where it repeats */
  int32_t strides2[4];
  int32_t offset1; /* -zero point of input1 */
  int32_t offset2;
  int32_t multiplier;
  int32_t shift; /* -31..-1 */
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
};

void tflash_mul_s8_mve(const struct tflash_mul_s8_mve_params *p, const int8_t *input1, const int8_t *input2,
                       int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_MUL_S8_MVE_H */
