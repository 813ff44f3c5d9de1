/* Product of two tensors, int16. The contract is in mul_s16.c. */
#ifndef TFLASH_MUL_S16_H
#define TFLASH_MUL_S16_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_mul_s16_params {
  int32_t shape[4]; /* of the output, outer to inner, 1 where unused */
  int32_t strides1[4]; /* of input1: elements from one index to the next, 0 where it repeats */
  int32_t strides2[4];
  int32_t multiplier;
  int32_t shift;
  int32_t activation_min;
  int32_t activation_max;
};

void tflash_mul_s16(const struct tflash_mul_s16_params *p, const int16_t *input1, const int16_t *input2,
                    int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_MUL_S16_H */
