/* What the Helium (MVE) kernels share: requantization in vectors, copies and sums.
 *
 * Requantization is that of requant.h, lane by lane: VQRDMULH is round(a * b / 2^31) with ties upward, as
 * tflash_high_product; VRSHL by -n rounds ties upward where tflash_rounding_shift rounds them away from zero, so one is
 * taken from negative values first, which is right for n >= 1 only: a channel that is multiplied by 1/2 or more has no
 * Helium kernel. tests/kernels/test_mve_requantization.py compares the two.
 * Accumulators wrap: the zero point of the input is folded into the bias, and only the whole sum is proved to fit. */
#ifndef TFLASH_MVE_H
#define TFLASH_MVE_H

#include <stdint.h>

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#include <arm_mve.h>

/* shift: -31..-1 in each lane. The sum cannot overflow: |acc| < 2^31 and multiplier < 2^31. */
static inline int32x4_t tflash_mve_requantize(int32x4_t acc, int32x4_t multiplier, int32x4_t shift) {
  const int32x4_t high = vqrdmulhq_s32(acc, multiplier);
  return vrshlq_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), shift);
}

/* Sums of eight neighbouring codes, as VMOVLB and VMOVLT split them. */
struct tflash_mve_sums {
  int32x4_t even;
  int32x4_t odd;
};

#define TFLASH_MVE_SUMMED 256 /* codes whose sum is an int16 */

/* Adds eight neighbouring codes each of some positions, `step` bytes apart; lanes: those of the eight that exist. */
static inline int16x8_t tflash_mve_add_positions(int16x8_t sums, const int8_t *at, int32_t positions, int32_t step,
                                                 mve_pred16_t lanes) {
  for (; positions > 0; --positions) {
    sums = vaddq_s16(sums, vldrbq_z_s16(at, lanes));
    at += step;
  }
  return sums;
}

static inline struct tflash_mve_sums tflash_mve_widen(struct tflash_mve_sums sums, int16x8_t more) {
  sums.even = vaddq_s32(sums.even, vmovlbq_s16(more));
  sums.odd = vaddq_s32(sums.odd, vmovltq_s16(more));
  return sums;
}

/* Copies count bytes; none where count is below 1. */
static inline void tflash_mve_copy(int8_t *to, const int8_t *from, int32_t count) {
  if (count > 0) {
    __asm volatile(
        "dlstp.8 lr, %[count]\n"
        "1:\n"
        "vldrb.8 q0, [%[from]], #16\n"
        "vstrb.8 q0, [%[to]], #16\n"
        "letp lr, 1b\n"
        : [to] "+r"(to), [from] "+r"(from)
        : [count] "r"(count)
        : "q0", "lr", "memory");
  }
}

/* Writes count bytes of one value; none where count is below 1. */
static inline void tflash_mve_fill(int8_t *to, int32_t value, int32_t count) {
  if (count > 0) {
    __asm volatile(
        "vdup.8 q0, %[value]\n"
        "dlstp.8 lr, %[count]\n"
        "1:\n"
        "vstrb.8 q0, [%[to]], #16\n"
        "letp lr, 1b\n"
        : [to] "+r"(to)
        : [count] "r"(count), [value] "r"(value)
        : "q0", "lr", "memory");
  }
}

#endif /* __ARM_FEATURE_MVE */

#endif /* TFLASH_MVE_H */
