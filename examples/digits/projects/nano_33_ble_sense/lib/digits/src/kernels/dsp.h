/* The DSP instructions of Armv7E-M and Armv8-M, each as a function, with plain C in their place on other cores: the
 * same kernel runs, sanitized, on the host. A word is two int16 (bottom, top) or four int8.
 * All sums wrap around as the instructions' do; the kernels' contracts say why the results do not. */
#ifndef TFLASH_DSP_H
#define TFLASH_DSP_H

#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_DSP) && (__ARM_FEATURE_DSP == 1)
#define TFLASH_DSP_ASM 1

#include "small_code.h"

#define TFLASH_DSP_MAC(name, instruction)                                             \
  static inline int32_t name(uint32_t a, uint32_t b, int32_t acc) {                   \
    int32_t result;                                                                   \
    __asm(instruction " %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));   \
    return result;                                                                    \
  }
TFLASH_DSP_MAC(tflash_smlad, "smlad")   /* acc + a.bottom * b.bottom + a.top * b.top */
TFLASH_DSP_MAC(tflash_smlabb, "smlabb") /* acc + a.bottom * b.bottom */
TFLASH_DSP_MAC(tflash_smlabt, "smlabt") /* acc + a.bottom * b.top */
TFLASH_DSP_MAC(tflash_smlatb, "smlatb") /* acc + a.top * b.bottom */
TFLASH_DSP_MAC(tflash_smlatt, "smlatt") /* acc + a.top * b.top */

/* acc + a * b / 2^32, rounded to nearest, ties upward. */
static inline int32_t tflash_smmlar(int32_t a, int32_t b, int32_t acc) {
  int32_t result;
  __asm("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
  return result;
}

/* a * b.bottom / 2^16, rounded down. */
static inline int32_t tflash_smulwb(int32_t a, int32_t b) {
  int32_t result;
  __asm("smulwb %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
  return result;
}

/* Saturate to int8. */
static inline int32_t tflash_ssat8(int32_t value) {
  int32_t result;
  __asm("ssat %0, #8, %1" : "=r"(result) : "r"(value));
  return result;
}

/* Saturate value / 2, rounded down, to int8. */
static inline int32_t tflash_ssat8_half(int32_t value) {
  int32_t result;
  __asm("ssat %0, #8, %1, asr #1" : "=r"(result) : "r"(value));
  return result;
}

#else

static inline int32_t tflash_half(uint32_t word, int top) {
  return (int16_t)(uint16_t)(top ? word >> 16 : word & 0xFFFFu);
}

static inline int32_t tflash_wrapping_sum(int32_t a, int32_t b) {
  return (int32_t)((uint32_t)a + (uint32_t)b);
}

static inline int32_t tflash_smlabb(uint32_t a, uint32_t b, int32_t acc) {
  return tflash_wrapping_sum(acc, tflash_half(a, 0) * tflash_half(b, 0));
}

static inline int32_t tflash_smlabt(uint32_t a, uint32_t b, int32_t acc) {
  return tflash_wrapping_sum(acc, tflash_half(a, 0) * tflash_half(b, 1));
}

static inline int32_t tflash_smlatb(uint32_t a, uint32_t b, int32_t acc) {
  return tflash_wrapping_sum(acc, tflash_half(a, 1) * tflash_half(b, 0));
}

static inline int32_t tflash_smlatt(uint32_t a, uint32_t b, int32_t acc) {
  return tflash_wrapping_sum(acc, tflash_half(a, 1) * tflash_half(b, 1));
}

static inline int32_t tflash_smlad(uint32_t a, uint32_t b, int32_t acc) {
  return tflash_smlatt(a, b, tflash_smlabb(a, b, acc));
}

static inline int32_t tflash_smmlar(int32_t a, int32_t b, int32_t acc) {
  return tflash_wrapping_sum(acc, (int32_t)(((int64_t)a * b + INT64_C(0x80000000)) >> 32));
}

static inline int32_t tflash_smulwb(int32_t a, int32_t b) {
  return (int32_t)((int64_t)a * tflash_half((uint32_t)b, 0) >> 16);
}

static inline int32_t tflash_ssat8(int32_t value) {
  return value < INT8_MIN ? INT8_MIN : (value > INT8_MAX ? INT8_MAX : value);
}

static inline int32_t tflash_ssat8_half(int32_t value) {
  return tflash_ssat8(value >> 1);
}

#endif

static inline uint32_t tflash_load_word(const void *from) {
  uint32_t word;
  memcpy(&word, from, sizeof word);
  return word;
}

static inline void tflash_store_word(void *to, uint32_t word) {
  memcpy(to, &word, sizeof word);
}

/* Bytes 0 and 2 of a word as two int16. */
static inline uint32_t tflash_sxtb16(uint32_t word) {
#ifdef TFLASH_DSP_ASM
  uint32_t result;
  __asm("sxtb16 %0, %1" : "=r"(result) : "r"(word));
  return result;
#else
  return (uint32_t)(uint16_t)(int16_t)(int8_t)(uint8_t)word | (uint32_t)(int32_t)(int8_t)(uint8_t)(word >> 16) << 16;
#endif
}

/* Bytes 1 and 3 of a word as two int16. */
static inline uint32_t tflash_sxtb16_odd(uint32_t word) {
#ifdef TFLASH_DSP_ASM
  uint32_t result;
  __asm("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(word));
  return result;
#else
  return tflash_sxtb16(word >> 8);
#endif
}

/* Adds bytes 0 and 2 of a word to two int16. */
static inline uint32_t tflash_sxtab16(uint32_t sums, uint32_t word) {
#ifdef TFLASH_DSP_ASM
  uint32_t result;
  __asm("sxtab16 %0, %1, %2" : "=r"(result) : "r"(sums), "r"(word));
  return result;
#else
  const uint32_t pair = tflash_sxtb16(word);
  return ((sums + pair) & 0xFFFFu) | ((sums & 0xFFFF0000u) + (pair & 0xFFFF0000u));
#endif
}

/* Adds bytes 1 and 3 of a word to two int16. */
static inline uint32_t tflash_sxtab16_odd(uint32_t sums, uint32_t word) {
#ifdef TFLASH_DSP_ASM
  uint32_t result;
  __asm("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(sums), "r"(word));
  return result;
#else
  return tflash_sxtab16(sums, word >> 8);
#endif
}

/* Of each of four int8 the larger. */
static inline uint32_t tflash_larger_codes(uint32_t a, uint32_t b) {
#ifdef TFLASH_DSP_ASM
  uint32_t result;
  __asm("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(result) : "r"(a), "r"(b));
  return result;
#else
  uint32_t result = 0;
  for (int32_t shift = 0; shift < 32; shift += 8) {
    const uint32_t larger = (int8_t)(uint8_t)(a >> shift) >= (int8_t)(uint8_t)(b >> shift) ? a : b;
    result |= larger & (UINT32_C(0xFF) << shift);
  }
  return result;
#endif
}

/* Of each of four int8 the lesser. */
static inline uint32_t tflash_lesser_codes(uint32_t a, uint32_t b) {
#ifdef TFLASH_DSP_ASM
  uint32_t result;
  __asm("ssub8 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(result) : "r"(a), "r"(b));
  return result;
#else
  return ~tflash_larger_codes(~a, ~b);
#endif
}

/* Four times a code. */
static inline uint32_t tflash_four_codes(int32_t code) {
  return (uint32_t)(uint8_t)code * 0x01010101u;
}

/* Adds up four neighbouring codes each of some positions, `step` bytes apart: pairs[0] are the sums, as int16, of codes
 * 0 and 2, pairs[1] those of 1 and 3. No sum of up to 256 positions overflows. */
static inline void tflash_add_positions(const int8_t *at, int32_t positions, int32_t step, uint32_t pairs[2]) {
  for (; positions > 0; --positions) {
    const uint32_t word = tflash_load_word(at);
    pairs[0] = tflash_sxtab16(pairs[0], word);
    pairs[1] = tflash_sxtab16_odd(pairs[1], word);
    at += step;
  }
}

/* Adds such sums to four int32. */
static inline void tflash_widen_sums(const uint32_t pairs[2], int32_t sums[4]) {
  sums[0] += (int16_t)(uint16_t)pairs[0];
  sums[1] += (int16_t)(uint16_t)pairs[1];
  sums[2] += (int32_t)pairs[0] >> 16;
  sums[3] += (int32_t)pairs[1] >> 16;
}

/* Requantization in four instructions, exactly as requant.h does it in two roundings.
 *
 * twice:      the accumulator, doubled; |twice| < 2^31, and stays so when shifted left
 * multiplier: in [2^30, 2^31), or 0
 * code:       what aot/packing.py makes of the shift: n - 1 for a right shift n in 1..22, -1 - s for a left one s >= 0
 * doubled_zero: 2 * zero point of the output + 1
 *
 * With n >= 1, h = round(twice * multiplier / 2^32) and s = -1 where the accumulator is negative, else 0,
 *   round(h / 2^n), ties away from zero, + zero point = (h + s + 2^(n-1) + (zero point << n)) >> n
 * where s may be the accumulator's sign instead of h's: they differ only where h = 0, which gives the zero point
 * either way. 2^(n-1) + (zero point << n) is doubled_zero << (n - 1), and SMMLAR adds it. */
static inline int8_t tflash_requantize_twice(int32_t twice, int32_t multiplier, int32_t code, int32_t doubled_zero) {
  if (code < 0) {
    const int32_t shifted = (int32_t)((uint32_t)twice << ~code);
    return (int8_t)tflash_ssat8(tflash_smmlar(shifted, multiplier, doubled_zero >> 1));
  }
  const int32_t rounding = (int32_t)((uint32_t)doubled_zero << code) + (twice >> 31);
  return (int8_t)tflash_ssat8_half(tflash_smmlar(twice, multiplier, rounding) >> code);
}

/* tflash_requantize_wide of an int32, in four instructions. The multiplier is the upper half that it takes, the shift
 * -2 minus its shift, in 0..29. Rounded down twice, by 2^16 and by what is left, is rounded down once. */
static inline int32_t tflash_requantize_narrow(int32_t value, int32_t upper_half, int32_t shift) {
  return ((tflash_smulwb(value, upper_half) >> shift) + 1) >> 1;
}

/* The code of a channel's shift from a nibble each, the even channel's low: what a layer has in common is in base. */
static inline int32_t tflash_shift_code(const uint8_t *codes, int32_t channel, int32_t base) {
  return (codes[channel >> 1] >> (4 * (channel & 1)) & 15) + base;
}

/* Clamp codes to an activation's range. */
static inline void tflash_clamp_codes(int8_t *codes, int32_t count, int32_t low, int32_t high) {
  if (low == INT8_MIN && high == INT8_MAX) {
    return;
  }
  for (; count >= 4; count -= 4) {
    const uint32_t word = tflash_larger_codes(tflash_load_word(codes), tflash_four_codes(low));
    tflash_store_word(codes, tflash_lesser_codes(word, tflash_four_codes(high)));
    codes += 4;
  }
  for (; count > 0; --count) {
    const int32_t code = *codes;
    *codes++ = (int8_t)(code < low ? low : (code > high ? high : code));
  }
}

#endif /* TFLASH_DSP_H */
