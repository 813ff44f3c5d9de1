/* Requantization: an int32 accumulator becomes a code of another scale. The C twin of pipeline/fixedpoint.py.
 *
 *   real multiplier = multiplier * 2^(shift - 31), multiplier 0 or in [2^30, 2^31), shift in -31..30
 *
 * Bit-exact with: gemmlowp's SaturatingRoundingDoublingHighMul and RoundingDivideByPOT, one after the other, as TFLM's
 * MultiplyByQuantizedMultiplier uses them: two roundings, not one.
 * Right shifts of negative values are arithmetic here, as in every compiler this is built with. */
#ifndef TFLASH_REQUANT_H
#define TFLASH_REQUANT_H

#include <stdint.h>

/* round(a * b / 2^31), ties upward; the one product that does not fit saturates. */
static inline int32_t tflash_high_product(int32_t a, int32_t b) {
  if (a == INT32_MIN && b == INT32_MIN) {
    return INT32_MAX;
  }
  return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

/* round(value / 2^exponent), ties away from zero; exponent in 0..31. */
static inline int32_t tflash_rounding_shift(int32_t value, int32_t exponent) {
  const int32_t mask = (int32_t)((UINT32_C(1) << exponent) - 1u);
  const int32_t threshold = (mask >> 1) + (value < 0 ? 1 : 0);
  return (value >> exponent) + ((value & mask) > threshold ? 1 : 0);
}

/* value * real multiplier. The compiler that chose the multiplier proves that value * 2^shift fits int32. */
static inline int32_t tflash_requantize(int32_t value, int32_t multiplier, int32_t shift) {
  if (shift > 0) {
    return tflash_high_product(value * (INT32_C(1) << shift), multiplier);
  }
  return tflash_rounding_shift(tflash_high_product(value, multiplier), -shift);
}

/* value * real multiplier for int64, with the upper 16 bits of the multiplier and one rounding, ties upward; shift in
 * -31..7. The compiler that chose the multiplier proves that |value| is below 2^47 and the result fits int32.
 * Bit-exact with: TFLM's MultiplyByQuantizedMultiplier of an int64. */
static inline int32_t tflash_requantize_wide(int64_t value, int32_t upper_half, int32_t shift) {
  return (int32_t)(((value * upper_half >> (14 - shift)) + 1) >> 1);
}

static inline int32_t tflash_clamp(int32_t value, int32_t low, int32_t high) {
  return value < low ? low : (value > high ? high : value);
}

#endif /* TFLASH_REQUANT_H */
