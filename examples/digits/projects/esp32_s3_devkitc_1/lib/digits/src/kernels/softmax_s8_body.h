/* A row of softmax_s8.c and softmax_s8_table.c, which hold the contract. They say what TFLASH_SOFTMAX_PARAMS is, and how
 * exp_of_difference gives the exponential of a difference of codes from p->smallest to 0 in Q0.31. */
#ifndef TFLASH_SOFTMAX_S8_BODY_H
#define TFLASH_SOFTMAX_S8_BODY_H

#include "fixed_exp.h"
#include "requant.h"

static void softmax_row(const TFLASH_SOFTMAX_PARAMS *p, const int8_t *input, int8_t *output) {
  int32_t max = INT8_MIN;
  for (int32_t d = 0; d < p->depth; ++d) {
    max = input[d] > max ? input[d] : max;
  }
  int32_t sum = 0;
  for (int32_t d = 0; d < p->depth; ++d) {
    if (input[d] - max >= p->smallest) {
      sum += tflash_rounding_shift(exp_of_difference(p, input[d] - max), 12);
    }
  }
  /* sum = (1 + x) * 2^bits with x in [0, 1) */
  int32_t bits = 12;
  uint32_t mantissa = (uint32_t)sum;
  while ((mantissa & (UINT32_C(1) << 31)) == 0) {
    mantissa <<= 1;
    --bits;
  }
  const int32_t reciprocal = tflash_reciprocal_of_one_plus((int32_t)(mantissa - (UINT32_C(1) << 31)));
  const int32_t exponent = bits + 23;
  for (int32_t d = 0; d < p->depth; ++d) {
    int32_t result = 0;
    if (input[d] - max >= p->smallest && exponent <= 31) {
      const int32_t e = exp_of_difference(p, input[d] - max);
      result = tflash_rounding_shift(tflash_high_product(reciprocal, e), exponent);
    }
    output[d] = (int8_t)tflash_clamp(result + INT8_MIN, INT8_MIN, INT8_MAX);
  }
}

#endif /* TFLASH_SOFTMAX_S8_BODY_H */
