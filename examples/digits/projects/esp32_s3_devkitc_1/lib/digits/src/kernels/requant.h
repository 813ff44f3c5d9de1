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

/* round(a * b / 2^31), ties upward, of any two but INT32_MIN and INT32_MIN: of four products of halves. A function, for
 * inlined it would need more registers than Armv6-M has. */
__attribute__((noinline, unused)) static int32_t tflash_product_of_halves(int32_t a, int32_t b) {
  const uint32_t a_low = (uint32_t)a & 0xFFFFu;
  const uint32_t b_low = (uint32_t)b & 0xFFFFu;
  const int32_t a_high = a >> 16;
  const int32_t b_high = b >> 16;
  const int32_t middle = a_high * (int32_t)b_low + (int32_t)(a_low * b_low >> 16);
  const int32_t low = (int32_t)a_low * b_high + (middle & 0xFFFF);
  return 2 * (a_high * b_high + (middle >> 16)) + (((low >> 14) + 1) >> 1);
}

/* The same, by one product where the core has it: Armv6-M and Armv8-M Baseline have none of 64 bits. */
static inline int32_t tflash_product(int32_t a, int32_t b) {
#if defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1
  return tflash_product_of_halves(a, b);
#else
  const int64_t product = (int64_t)a * b;
  return 2 * (int32_t)(product >> 32) + (int32_t)((((uint32_t)product >> 30) + 1u) >> 1);
#endif
}

/* round(a * b / 2^31), ties upward; the one product that does not fit saturates. */
static inline int32_t tflash_high_product(int32_t a, int32_t b) {
  return a == INT32_MIN && b == INT32_MIN ? INT32_MAX : tflash_product(a, b);
}

/* round(value / 2^exponent), ties away from zero; exponent in 0..31. */
static inline int32_t tflash_rounding_shift(int32_t value, int32_t exponent) {
  const int32_t mask = (int32_t)((UINT32_C(1) << exponent) - 1u);
  const int32_t threshold = (mask >> 1) + (value < 0 ? 1 : 0);
  return (value >> exponent) + ((value & mask) > threshold ? 1 : 0);
}

/* value * real multiplier. The compiler that chose the multiplier proves that value * 2^shift fits int32.
 * A right shift by n rounds ties away from zero: (product - (product < 0) + 2^(n-1)) >> n, of which >> (n-1) comes first
 * so that nothing overflows. The product of a multiplier, which is below 2^31, is never INT32_MIN. */
static inline int32_t tflash_requantize(int32_t value, int32_t multiplier, int32_t shift) {
  if (shift >= 0) {
    return tflash_product(value * (INT32_C(1) << shift), multiplier);
  }
  const int32_t product = tflash_product(value, multiplier);
  return (((product + (product >> 31)) >> (-1 - shift)) + 1) >> 1;
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
