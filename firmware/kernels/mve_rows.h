/* The product of rows of codes with filters, on Helium (MVE): what FULLY_CONNECTED is, and CONV_2D after its patches are
 * gathered. Requantization and wrapping sums are those of mve.h. */
#ifndef TFLASH_MVE_ROWS_H
#define TFLASH_MVE_ROWS_H

#include <stdint.h>

#include "mve.h"

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)

/* per_channel 0: one multiplier and shift for all. */
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

/* Three rows by some times four filters. The assembly knows where the fields are. */
struct tflash_mve_tile {
  const int8_t *row[3];
  int32_t depth;
  const int8_t *weights;
  const int32_t *bias;
  const int32_t *multipliers;
  const int8_t *shifts;
  int8_t *output;
  int32_t channels; /* from one row of outputs to the next */
  int32_t quads;    /* at least 1 */
  int32_t multiplier_step; /* bytes from four filters to the next four, 0 where they are the same */
  int32_t shift_step;
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
  int32_t sum[3][4];
};

/* Two filters at r1 and r3 by three rows, from the biases in r0 and r2, in steps of 16 codes: 5 loads, 6 VMLADAVA. The
 * sums go to r11 + to0, to1, to2. lr: depth. */
#define TFLASH_MVE_DOT_3X2(to0, to1, to2) \
  "mov r4, r0\n"                          \
  "mov r6, r2\n"                          \
  "mov r8, r0\n"                          \
  "mov r10, r2\n"                         \
  "ldrd r5, r7, [r11]\n"                  \
  "ldr r9, [r11, #8]\n"                   \
  "dlstp.8 lr, lr\n"                      \
  "2:\n"                                  \
  "vldrb.8 q0, [r1], #16\n"               \
  "vldrb.8 q2, [r5], #16\n"               \
  "vmladava.s8 r0, q2, q0\n"              \
  "vldrb.8 q1, [r3], #16\n"               \
  "vmladava.s8 r2, q2, q1\n"              \
  "vldrb.8 q3, [r7], #16\n"               \
  "vmladava.s8 r4, q3, q0\n"              \
  "vmladava.s8 r6, q3, q1\n"              \
  "vldrb.8 q2, [r9], #16\n"               \
  "vmladava.s8 r8, q2, q0\n"              \
  "vmladava.s8 r10, q2, q1\n"             \
  "letp lr, 2b\n"                         \
  "strd r0, r2, [r11, #" to0 "]\n"        \
  "strd r4, r6, [r11, #" to1 "]\n"        \
  "strd r8, r10, [r11, #" to2 "]\n"

/* Four outputs of a row at r4, which goes on to the next; as tflash_mve_requantize. q1: multipliers, q2: shifts, q4, q5:
 * range, r8: output_offset, r6: channels. */
#define TFLASH_MVE_OUTPUTS(sum)            \
  "vldrw.32 q0, [r11, #" sum "]\n"         \
  "vqrdmulh.s32 q0, q0, q1\n"              \
  "vshr.s32 q3, q0, #31\n"                 \
  "vadd.i32 q0, q0, q3\n"                  \
  "vrshl.s32 q0, q0, q2\n"                 \
  "vadd.i32 q0, q0, r8\n"                  \
  "vmax.s32 q0, q0, q4\n"                  \
  "vmin.s32 q0, q0, q5\n"                  \
  "vstrb.32 q0, [r4]\n"                    \
  "add r4, r4, r6\n"

__attribute__((naked, noinline)) static void tflash_mve_run_tile(
    __attribute__((unused)) struct tflash_mve_tile *tile) {
  __asm(
      "push {r4-r11, lr}\n"
      "vpush {d8-d11}\n"
      "mov r11, r0\n"
      "ldrd r0, r1, [r11, #56]\n"
      "vdup.32 q4, r0\n"
      "vdup.32 q5, r1\n"
      "1:\n"
      "ldrd lr, r1, [r11, #12]\n"
      "ldr r12, [r11, #20]\n"
      "add r3, r1, lr\n"
      "ldrd r0, r2, [r12], #8\n"
      TFLASH_MVE_DOT_3X2("64", "80", "96")
      "ldrd lr, r1, [r11, #12]\n"
      "ldrd r0, r2, [r12], #8\n"
      "add r1, r1, lr, lsl #1\n"
      "add r3, r1, lr\n"
      "add r4, r3, lr\n"
      "strd r4, r12, [r11, #16]\n"
      TFLASH_MVE_DOT_3X2("72", "88", "104")
      "ldrd r0, r2, [r11, #24]\n"
      "vldrw.32 q1, [r0]\n"
      "vldrb.s32 q2, [r2]\n"
      "ldrd r4, r6, [r11, #44]\n"
      "add r0, r0, r4\n"
      "add r2, r2, r6\n"
      "strd r0, r2, [r11, #24]\n"
      "ldrd r4, r6, [r11, #32]\n"
      "add r0, r4, #4\n"
      "str r0, [r11, #32]\n"
      "ldr r8, [r11, #52]\n"
      TFLASH_MVE_OUTPUTS("64")
      TFLASH_MVE_OUTPUTS("80")
      TFLASH_MVE_OUTPUTS("96")
      "ldr r0, [r11, #40]\n"
      "subs r0, r0, #1\n"
      "str r0, [r11, #40]\n"
      "bne 1b\n"
      "vpop {d8-d11}\n"
      "pop {r4-r11, pc}\n");
}

/* The outputs of three rows by `quads` times four filters, at least one. */
static inline void tflash_mve_three_rows(const struct tflash_mve_filters *f, const int8_t *const row[3], int32_t quads,
                                         int8_t *output) {
  const int32_t multiplier = f->multipliers[0];
  const int8_t shift = f->shifts[0];
  const int32_t same_multipliers[4] = {multiplier, multiplier, multiplier, multiplier};
  const int8_t same_shifts[4] = {shift, shift, shift, shift};
  struct tflash_mve_tile tile;
  tile.row[0] = row[0];
  tile.row[1] = row[1];
  tile.row[2] = row[2];
  tile.depth = f->depth;
  tile.weights = f->weights;
  tile.bias = f->bias;
  tile.multipliers = f->per_channel != 0 ? f->multipliers : same_multipliers;
  tile.shifts = f->per_channel != 0 ? f->shifts : same_shifts;
  tile.output = output;
  tile.channels = f->channels;
  tile.quads = quads;
  tile.multiplier_step = f->per_channel != 0 ? 16 : 0;
  tile.shift_step = f->per_channel != 0 ? 4 : 0;
  tile.output_offset = f->output_offset;
  tile.activation_min = f->activation_min;
  tile.activation_max = f->activation_max;
  tflash_mve_run_tile(&tile);
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
    int32_t acc[4] = {bias[0], bias[second], bias[third], bias[fourth]};
    tflash_mve_dot_1x4(row[r], filter, f->depth, acc);
    int32x4_t codes = tflash_mve_requantize(vldrwq_s32(acc), multiplier, shift);
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

/* The outputs of 1..3 rows, row after row. */
static inline void tflash_mve_rows(const struct tflash_mve_filters *f, const int8_t *const row[3], int32_t rows,
                                   int8_t *output) {
  const int8_t *weights = f->weights;
  int32_t c = 0;
  if (rows == 3 && f->channels >= 4) {
    c = f->channels & ~3;
    tflash_mve_three_rows(f, row, c >> 2, output);
    weights += c * f->depth;
  }
  for (; c <= f->channels - 4; c += 4) {
    tflash_mve_block(f, c, weights, row, rows, output + c, 1);
    weights += 4 * f->depth;
  }
  if (c < f->channels) {
    tflash_mve_block(f, c, weights, row, rows, output + c, 0);
  }
}

#endif /* __ARM_FEATURE_MVE */

#endif /* TFLASH_MVE_ROWS_H */
