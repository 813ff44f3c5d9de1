/* exp and 1 / (1 + x) in fixed point. Qm.n is an int32 with n fractional bits and m + n = 31.
 *
 * Bit-exact with: gemmlowp's exp_on_negative_values and one_over_one_plus_x_for_x_in_0_1, which TFLM's SOFTMAX and
 * LOGISTIC are built on. The order of the roundings is part of the result. */
#ifndef TFLASH_FIXED_EXP_H
#define TFLASH_FIXED_EXP_H

#include <stdint.h>

#include "requant.h"

/* exp(x) in Q0.31 for x in [-1/4, 0), Q0.31: the Taylor polynomial of degree 4 around -1/8. */
static inline int32_t tflash_exp_quarter(int32_t x) {
  const int32_t exp_of_minus_eighth = 1895147668;
  const int32_t third = 715827883;
  const int32_t t = x + (INT32_C(1) << 28);
  const int32_t t2 = tflash_high_product(t, t);
  const int32_t t3 = tflash_high_product(t2, t);
  const int32_t t4 = tflash_high_product(t2, t2);
  const int32_t tail = tflash_high_product(tflash_rounding_shift(t4, 2) + t3, third) + t2;
  return exp_of_minus_eighth + tflash_high_product(exp_of_minus_eighth, t + tflash_rounding_shift(tail, 1));
}

/* exp(x) in Q0.31 for x in (-2^integer_bits, 0], Q[integer_bits]; integer_bits in 0..5. exp(0) is INT32_MAX.
 * x = fraction - sum of powers of two from 1/4 up, one multiplication for each of these that is there. */
static inline int32_t tflash_exp_negative(int32_t x, int32_t integer_bits) {
  static const int32_t exp_of_minus_power[7] = {
      1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242, /* exp(-1/4), exp(-1/2), .. exp(-16) */
  };
  const int32_t quarter = INT32_C(1) << (29 - integer_bits);
  const int32_t fraction = (x & (quarter - 1)) - quarter;
  const int32_t powers = fraction - x;
  int32_t result = tflash_exp_quarter(fraction * (INT32_C(1) << integer_bits));
  if (x == 0) {
    return INT32_MAX;
  }
  for (int32_t i = 0; i < integer_bits + 2; ++i) {
    if ((powers & (quarter << i)) != 0) {
      result = tflash_high_product(result, exp_of_minus_power[i]);
    }
  }
  return result;
}

/* 1 / (1 + x) in Q0.31 for x in [0, 1), Q0.31: three Newton steps on the reciprocal of (1 + x) / 2. */
static inline int32_t tflash_reciprocal_of_one_plus(int32_t x) {
  const int32_t c48_over_17 = 1515870810; /* Q2.29 */
  const int32_t c32_over_17 = 1010580540;
  const int32_t one = INT32_C(1) << 29;
  const int32_t half = (int32_t)(((uint32_t)x + (UINT32_C(1) << 31)) >> 1);
  int32_t y = c48_over_17 + tflash_high_product(half, -c32_over_17);
  for (int32_t i = 0; i < 3; ++i) {
    y += tflash_high_product(y, one - tflash_high_product(half, y)) * 4;
  }
  return y >= one * 2 ? INT32_MAX : y * 2;
}

#endif /* TFLASH_FIXED_EXP_H */
