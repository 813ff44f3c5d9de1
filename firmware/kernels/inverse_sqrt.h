/* 1 / sqrt(x) in fixed point. Qm.n is an int32 with n fractional bits and m + n = 31.
 * The twin of inverse_sqrt in pipeline/aot/fixed_functions.py.
 *
 * Bit-exact with: TFLite's GetInvSqrtQuantizedMultiplierExp. The order of the roundings is part of the result. */
#ifndef TFLASH_INVERSE_SQRT_H
#define TFLASH_INVERSE_SQRT_H

#include <stdint.h>

#include "requant.h"

/* A Q31 multiplier and its shift, 0 or to the right (negative), for x of at least 0; that of 0 is that of 1.
 * x is scaled by powers of 4 to [1/4, 1) in Q3.28, so y grows to at most 2, its cube stays below 8, and no int32 overflows. */
static inline int32_t tflash_inverse_sqrt(int32_t x, int32_t *shift) {
  const int32_t half_sqrt_2 = 1518500250; /* Q0.31 */
  const int32_t three_halves = (INT32_C(1) << 28) + (INT32_C(1) << 27);
  int32_t right = 11;
  int32_t y = INT32_C(1) << 28; /* Q3.28, as all here */
  *shift = 0;
  if (x <= 1) {
    return INT32_MAX;
  }
  for (; x >= INT32_C(1) << 29; x /= 4) {
    ++right;
  }
  for (; x < INT32_C(1) << 27; x *= 4) {
    --right;
  }
  x /= 2;
  const int32_t half = tflash_rounding_shift(x, 1);
  for (int32_t i = 0; i < 5; ++i) {
    const int32_t cubed = tflash_high_product(tflash_high_product(y, y), y) * 64;
    y = (tflash_high_product(three_halves, y) - tflash_high_product(half, cubed)) * 8;
  }
  y = tflash_high_product(y, half_sqrt_2);
  if (right < 0) {
    return y * (INT32_C(1) << -right);
  }
  *shift = -right;
  return y;
}

#endif /* TFLASH_INVERSE_SQRT_H */
