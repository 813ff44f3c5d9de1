/* Difference of two tensors, int8. The contract is in sub_s8.c. */
#ifndef TFLASH_SUB_S8_H
#define TFLASH_SUB_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_sub_s8_params {
  int32_t shape[4]; /* of the output, outer to inner, 1 where unused */
  int32_t strides1[4]; /* of input1: elements from one index to the next, 0 where it repeats */
  int32_t strides2[4];
  int32_t offset1; /* -zero point of input1 */
  int32_t offset2;
  int32_t multiplier1;
  int32_t shift1; /* -31..0, as all three */
  int32_t multiplier2;
  int32_t shift2;
  int32_t output_multiplier;
  int32_t output_shift;
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
};

void tflash_sub_s8(const struct tflash_sub_s8_params *p, const int8_t *input1, const int8_t *input2, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_SUB_S8_H */
