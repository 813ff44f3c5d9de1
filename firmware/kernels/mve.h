/* What the Helium (MVE) kernels share: requantization in vectors, copies, and the product of rows with weights.
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

/* Rows of `depth` codes times the weights of `channels` filters: what FULLY_CONNECTED is, and CONV_2D after its patches
 * are gathered. per_channel 0: one multiplier and shift for all. */
struct tflash_mve_filters {
  const int8_t *weights; /* [channels][depth] */
  const int32_t *bias;   /* [channels], the input's zero point folded in */
  const int32_t *multipliers;
  const int8_t *shifts;
  int32_t per_channel;
  int32_t depth;
  int32_t channels;
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
};

/* acc[i] += row . filter i, for four filters of `depth` codes. 16 codes: 5 loads, 4 VMLADAVA. */
static inline void tflash_mve_dot_1x4(const int8_t *row, const int8_t *const filter[4], int32_t depth,
                                      int32_t acc[4]) {
  const int8_t *w0 = filter[0], *w1 = filter[1], *w2 = filter[2], *w3 = filter[3];
  int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];
  __asm volatile(
      "dlstp.8 lr, %[depth]\n"
      "1:\n"
      "vldrb.8 q0, [%[row]], #16\n"
      "vldrb.8 q1, [%[w0]], #16\n"
      "vmladava.s8 %[a0], q0, q1\n"
      "vldrb.8 q2, [%[w1]], #16\n"
      "vmladava.s8 %[a1], q0, q2\n"
      "vldrb.8 q1, [%[w2]], #16\n"
      "vmladava.s8 %[a2], q0, q1\n"
      "vldrb.8 q2, [%[w3]], #16\n"
      "vmladava.s8 %[a3], q0, q2\n"
      "letp lr, 1b\n"
      : [row] "+r"(row), [w0] "+r"(w0), [w1] "+r"(w1), [w2] "+r"(w2), [w3] "+r"(w3), [a0] "+Te"(a0), [a1] "+Te"(a1),
        [a2] "+Te"(a2), [a3] "+Te"(a3)
      : [depth] "r"(depth)
      : "q0", "q1", "q2", "lr", "memory");
  acc[0] = a0;
  acc[1] = a1;
  acc[2] = a2;
  acc[3] = a3;
}

/* acc[4 * p] = bias0 + row p . w0, acc[4 * p + 1] = bias1 + row p . w1, for three rows.
 * 16 codes: 5 loads, 6 VMLADAVA. */
static inline void tflash_mve_dot_3x2(const int8_t *const row[3], const int8_t *w0, const int8_t *w1, int32_t depth,
                                      int32_t bias0, int32_t bias1, int32_t *acc) {
  const int8_t *x0 = row[0], *x1 = row[1], *x2 = row[2];
  int32_t a0 = bias0, a1 = bias1, b0 = bias0, b1 = bias1, c0 = bias0, c1 = bias1;
  register int32_t count __asm("lr") = depth; /* there is no other register left */
  __asm volatile(
      "dlstp.8 lr, %[count]\n"
      "1:\n"
      "vldrb.8 q0, [%[w0]], #16\n"
      "vldrb.8 q2, [%[x0]], #16\n"
      "vmladava.s8 %[a0], q2, q0\n"
      "vldrb.8 q1, [%[w1]], #16\n"
      "vmladava.s8 %[a1], q2, q1\n"
      "vldrb.8 q3, [%[x1]], #16\n"
      "vmladava.s8 %[b0], q3, q0\n"
      "vmladava.s8 %[b1], q3, q1\n"
      "vldrb.8 q2, [%[x2]], #16\n"
      "vmladava.s8 %[c0], q2, q0\n"
      "vmladava.s8 %[c1], q2, q1\n"
      "letp lr, 1b\n"
      : [x0] "+r"(x0), [x1] "+r"(x1), [x2] "+r"(x2), [w0] "+r"(w0), [w1] "+r"(w1), [a0] "+Te"(a0), [a1] "+Te"(a1),
        [b0] "+Te"(b0), [b1] "+Te"(b1), [c0] "+Te"(c0), [c1] "+Te"(c1), [count] "+r"(count)
      :
      : "q0", "q1", "q2", "q3", "memory");
  acc[0] = a0;
  acc[1] = a1;
  acc[4] = b0;
  acc[5] = b1;
  acc[8] = c0;
  acc[9] = c1;
}

/* The outputs of 1..3 rows by `channels` filters from channel c on; all: four or more are left. */
static inline void tflash_mve_block(const struct tflash_mve_filters *f, int32_t c, const int8_t *weights,
                                    const int8_t *const row[3], int32_t rows, int8_t *output, int32_t all) {
  const int32_t left_over = f->channels - c;
  const mve_pred16_t lanes = vctp32q((uint32_t)left_over);
  const int32_t *const bias = f->bias + c;
  const int32_t second = all || left_over > 1 ? 1 : 0; /* which of the filters stands for the missing ones */
  const int32_t third = all || left_over > 2 ? 2 : 0;
  const int32_t fourth = all || left_over > 3 ? 3 : 0;
  const int8_t *const filter[4] = {
      weights,
      weights + second * f->depth,
      weights + third * f->depth,
      weights + fourth * f->depth,
  };
  int32_t acc[12];
  if (rows == 1) {
    acc[0] = bias[0];
    acc[1] = bias[second];
    acc[2] = bias[third];
    acc[3] = bias[fourth];
    tflash_mve_dot_1x4(row[0], filter, f->depth, acc);
  } else {
    tflash_mve_dot_3x2(row, filter[0], filter[1], f->depth, bias[0], bias[second], acc);
    tflash_mve_dot_3x2(row, filter[2], filter[3], f->depth, bias[third], bias[fourth], acc + 2);
  }

  int32x4_t multiplier;
  int32x4_t shift;
  if (f->per_channel == 0) {
    multiplier = vdupq_n_s32(f->multipliers[0]);
    shift = vdupq_n_s32(f->shifts[0]);
  } else {
    multiplier = all ? vldrwq_s32(f->multipliers + c) : vldrwq_z_s32(f->multipliers + c, lanes);
    shift = all ? vldrbq_s32(f->shifts + c) : vldrbq_z_s32(f->shifts + c, lanes);
  }
  for (int32_t r = 0; r < rows; ++r) {
    int32x4_t codes = tflash_mve_requantize(vldrwq_s32(acc + 4 * r), multiplier, shift);
    codes = vaddq_n_s32(codes, f->output_offset);
    codes = vmaxq_s32(codes, vdupq_n_s32(f->activation_min));
    codes = vminq_s32(codes, vdupq_n_s32(f->activation_max));
    if (all) {
      vstrbq_s32(output, codes);
    } else {
      vstrbq_p_s32(output, codes, lanes);
    }
    output += f->channels;
  }
}

/* The outputs of 1..3 rows, row after row. row[] has three entries; those from `rows` on repeat the last. */
static inline void tflash_mve_rows(const struct tflash_mve_filters *f, const int8_t *const row[3], int32_t rows,
                                   int8_t *output) {
  const int8_t *weights = f->weights;
  int32_t c = 0;
  for (; c <= f->channels - 4; c += 4) {
    tflash_mve_block(f, c, weights, row, rows, output + c, 1);
    weights += 4 * f->depth;
  }
  if (c < f->channels) {
    tflash_mve_block(f, c, weights, row, rows, output + c, 0);
  }
}

#endif /* __ARM_FEATURE_MVE */

#endif /* TFLASH_MVE_H */
