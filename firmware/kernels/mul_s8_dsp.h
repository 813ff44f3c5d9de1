/* Product of two tensors, int8, by SMMLAR. The contract is in mul_s8_dsp.c. */
#ifndef TFLASH_MUL_S8_DSP_H
#define TFLASH_MUL_S8_DSP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_mul_s8_dsp_params {
  int32_t shape[4]; /* of the output, outer to inner, 1 where unused */
  int32_t strides1[4]; /* of input1: elements from one index to the next, 0 where it repeats */
  int32_t strides2[4];
  int32_t offset1; /* 2 * -zero point of input1 */
  int32_t offset2; /* -zero point of input2 */
  int32_t multiplier;
  int16_t doubled_zero; /* 2 * zero point of the output + 1 */
  int8_t code;          /* right shift - 1, at least 0 */
  int8_t activation_min;
  int8_t activation_max;
};

void tflash_mul_s8_dsp(const struct tflash_mul_s8_dsp_params *p, const int8_t *input1, const int8_t *input2,
                       int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_MUL_S8_DSP_H */
