/* 2-D depthwise convolution for Helium (MVE), int8 in, int8 out; any stride and padding, no dilation, one filter a
 * channel.
 *   the formula and shapes of depthwise_conv_2d_s8.c, with
 *   bias     [input_channels]  int32  the model's - input zero point * sum of the channel's weights, modulo 2^32
 * The rows that one output row sees are kept in scratch, with their padding as zero points. Helium has no vector
 * multiply-accumulate that widens. Sixteen channels at once, products of neighbouring taps are added up as int16
 * where the weights allow, before VMOVL widens the sums; what is left of the channels goes eight at once, 2 pixels
 * sharing the weights, with products of 32 bits. On silicon loads, products and sums overlap.
 * Bit-exact with: depthwise_conv_2d_s8.c.
 * Overflow: sums wrap; aot/requantization.py proves for each layer that what they stand for fits int32, and
 *   aot/ops/depthwise_conv_2d.py that any taps_together neighbouring products add up to an int16.
 * Scratch: filter_height * ((output_width - 1) * stride_width + filter_width) * input_channels bytes.
 * Rows are in scratch before a row of outputs that sees them is written, so that outputs may overlap the input:
 * aot/ops/overlap.py says how far. */
#include "depthwise_conv_2d_s8_mve.h"

#include "mve.h"

/* Eight channels as four even and four odd ones, as VMULLB and VMULLT split them. */
struct lanes {
  int32x4_t even;
  int32x4_t odd;
};

struct block {
  mve_pred16_t channels; /* those of the eight that exist */
  struct lanes bias;
  struct lanes multiplier;
  struct lanes shift;
};

static struct block load_block(const struct tflash_depthwise_conv_2d_s8_mve_params *p, int32_t c) {
  const uint32_t count = (uint32_t)(p->input_channels - c);
  const mve_pred16_t even_lanes = vctp32q((count + 1u) / 2u);
  const mve_pred16_t odd_lanes = vctp32q(count / 2u);
  const uint32x4_t even = vidupq_n_u32(0, 2);
  const uint32x4_t odd = vaddq_n_u32(even, 1);
  struct block k;
  k.channels = vctp16q(count);
  k.bias.even = vldrwq_gather_shifted_offset_z_s32(p->bias + c, even, even_lanes);
  k.bias.odd = vldrwq_gather_shifted_offset_z_s32(p->bias + c, odd, odd_lanes);
  if (p->per_channel != 0) {
    k.multiplier.even = vldrwq_gather_shifted_offset_z_s32(p->multipliers + c, even, even_lanes);
    k.multiplier.odd = vldrwq_gather_shifted_offset_z_s32(p->multipliers + c, odd, odd_lanes);
    k.shift.even = vldrbq_gather_offset_z_s32(p->shifts + c, even, even_lanes);
    k.shift.odd = vldrbq_gather_offset_z_s32(p->shifts + c, odd, odd_lanes);
  } else {
    k.multiplier.even = k.multiplier.odd = vdupq_n_s32(p->multipliers[0]);
    k.shift.even = k.shift.odd = vdupq_n_s32(p->shifts[0]);
  }
  return k;
}

static inline struct lanes multiply_add(struct lanes acc, int16x8_t codes, int16x8_t weights) {
  acc.even = vaddq_s32(acc.even, vmullbq_int_s16(codes, weights));
  acc.odd = vaddq_s32(acc.odd, vmulltq_int_s16(codes, weights));
  return acc;
}

/* Saturating to int16 before the offset changes nothing: what it cuts off would be clamped to int8 anyway. */
static inline void store(const struct tflash_depthwise_conv_2d_s8_mve_params *p, const struct block *k,
                         struct lanes acc, int8_t *output) {
  int16x8_t codes = vdupq_n_s16(0);
  codes = vqmovnbq_s32(codes, tflash_mve_requantize(acc.even, k->multiplier.even, k->shift.even));
  codes = vqmovntq_s32(codes, tflash_mve_requantize(acc.odd, k->multiplier.odd, k->shift.odd));
  codes = vqaddq_n_s16(codes, (int16_t)p->output_offset);
  codes = vmaxq_s16(codes, vdupq_n_s16((int16_t)p->activation_min));
  codes = vminq_s16(codes, vdupq_n_s16((int16_t)p->activation_max));
  vstrbq_p_s16(output, codes, k->channels);
}

/* One output row of up to eight channels; all: all eight exist. */
static inline void output_row(const struct tflash_depthwise_conv_2d_s8_mve_params *p, const struct block *k,
                              const int8_t *rows, int32_t row_bytes, const int8_t *weights, int8_t *output,
                              int32_t all) {
  const int32_t depth = p->input_channels;
  for (int32_t left = p->output_width; left > 0; left -= 2) {
    const int32_t second = left > 1 ? p->stride_width * depth : 0;
    struct lanes acc0 = k->bias;
    struct lanes acc1 = k->bias;
    const int8_t *w = weights;
    const int8_t *row = rows;
    for (int32_t fy = 0; fy < p->filter_height; ++fy) {
      const int8_t *x = row;
      for (int32_t fx = p->filter_width; fx > 0; --fx) {
        const int16x8_t weight = all ? vldrbq_s16(w) : vldrbq_z_s16(w, k->channels);
        acc0 = multiply_add(acc0, all ? vldrbq_s16(x) : vldrbq_z_s16(x, k->channels), weight);
        acc1 = multiply_add(acc1, all ? vldrbq_s16(x + second) : vldrbq_z_s16(x + second, k->channels), weight);
        w += depth;
        x += depth;
      }
      row += row_bytes;
    }
    store(p, k, acc0, output);
    if (left > 1) {
      store(p, k, acc1, output + depth);
    }
    rows += 2 * p->stride_width * depth;
    output += 2 * depth;
  }
}

/* Sixteen channels as VMULLB and VMULLT, then VMOVLB and VMOVLT split them: part r holds channels r, r + 4, r + 8 and
 * r + 12. */
struct part {
  int32x4_t bias;
  int32x4_t multiplier;
  int32x4_t shift;
};

struct sixteen {
  struct part part[4];
};

static void load_sixteen(const struct tflash_depthwise_conv_2d_s8_mve_params *p, int32_t c, struct sixteen *k) {
  const uint32x4_t every_fourth = vidupq_n_u32(0, 4);
  for (int32_t r = 0; r < 4; ++r, ++c) {
    struct part *const part = &k->part[r];
    part->bias = vldrwq_gather_shifted_offset_s32(p->bias + c, every_fourth);
    if (p->per_channel == 0) {
      part->multiplier = vdupq_n_s32(p->multipliers[0]);
      part->shift = vdupq_n_s32(p->shifts[0]);
    } else {
      part->multiplier = vldrwq_gather_shifted_offset_s32(p->multipliers + c, every_fourth);
      part->shift = vldrbq_gather_offset_s32(p->shifts + c, every_fourth);
    }
  }
}

/* In assembly: GCC 12 keeps too many loads under way and spills the sums. a0 to a2 are three of the four sums; the last
 * one, a3, is in memory, since eight vectors are one too few. q6 and q7: int16 sums of the even and odd channels. */
#define FIRST_TAP                \
  "vldrb.8 q4, [%[x]]\n"        \
  "vldrb.8 q5, [%[w]]\n"        \
  "add %[x], %[x], %[depth]\n"  \
  "add %[w], %[w], %[depth]\n"  \
  "vmullb.s8 q6, q4, q5\n"      \
  "vmullt.s8 q7, q4, q5\n"
#define NEXT_TAP                 \
  "vldrb.8 q4, [%[x]]\n"        \
  "vldrb.8 q5, [%[w]]\n"        \
  "add %[x], %[x], %[depth]\n"  \
  "add %[w], %[w], %[depth]\n"  \
  "vmullb.s8 q3, q4, q5\n"      \
  "vmullt.s8 q4, q4, q5\n"      \
  "vadd.i16 q6, q6, q3\n"       \
  "vadd.i16 q7, q7, q4\n"
#define WIDEN                              \
  "vmovlb.s16 q3, q6\n"                   \
  "vmovlb.s16 q4, q7\n"                   \
  "vadd.i32 %q[a0], %q[a0], q3\n"         \
  "vmovlt.s16 q5, q6\n"                   \
  "vadd.i32 %q[a1], %q[a1], q4\n"         \
  "vldrw.32 q3, [%[a3]]\n"                \
  "vmovlt.s16 q4, q7\n"                   \
  "vadd.i32 %q[a2], %q[a2], q5\n"         \
  "vadd.i32 q3, q3, q4\n"                 \
  "vstrw.32 q3, [%[a3]]\n"
#define TAPS(instructions)                                                                             \
  __asm volatile(instructions                                                                          \
                 : [x] "+r"(x), [w] "+r"(w), [a0] "+w"(a0), [a1] "+w"(a1), [a2] "+w"(a2), "+m"(*a3)    \
                 : [a3] "r"(a3), [depth] "r"(depth)                                                    \
                 : "q3", "q4", "q5", "q6", "q7")

/* tflash_mve_requantize with part r of k, each vector of it loaded where it is used. */
#define REQUANTIZE(acc, r)                                                                             \
  __asm volatile(                                                                                      \
      "vldrw.32 q3, [%[k], %[multiplier]]\n"                                                           \
      "vqrdmulh.s32 %q[a], %q[a], q3\n"                                                                \
      "vldrw.32 q3, [%[k], %[shift]]\n"                                                                \
      "vshr.s32 q4, %q[a], #31\n"                                                                      \
      "vadd.i32 %q[a], %q[a], q4\n"                                                                    \
      "vrshl.s32 %q[a], %q[a], q3\n"                                                                   \
      : [a] "+w"(acc)                                                                                  \
      : [k] "r"(k), [multiplier] "i"(48 * (r) + 16), [shift] "i"(48 * (r) + 32), "m"(*k)               \
      : "q3", "q4")

/* One output row of sixteen channels. Not inlined, so that the vectors of k are reached by one instruction. */
__attribute__((noinline)) static void output_row_of_sixteen(const struct tflash_depthwise_conv_2d_s8_mve_params *p,
                                                            const struct sixteen *k, const int8_t *rows,
                                                            int32_t row_bytes, const int8_t *weights, int8_t *output) {
  const int32_t depth = p->input_channels;
  const int32_t step = p->stride_width * depth;
  const int32_t next_row = row_bytes - p->filter_width * depth;
  const int32_t height = p->filter_height;
  const int32_t together = p->taps_together;
  const int32_t pairs = together >= 2 ? p->filter_width / 2 : 0;
  const int32_t singles = p->filter_width - 2 * pairs;
  const int16_t offset = (int16_t)p->output_offset;
  const int8x16_t lowest = vdupq_n_s8((int8_t)p->activation_min);
  const int8x16_t highest = vdupq_n_s8((int8_t)p->activation_max);
  for (int32_t left = p->output_width; left > 0; --left) {
    int32x4_t a0 = k->part[0].bias;
    int32x4_t a1 = k->part[1].bias;
    int32x4_t a2 = k->part[2].bias;
    int32x4_t last = k->part[3].bias;
    int32x4_t *const a3 = &last;
    const int8_t *w = weights;
    const int8_t *x = rows;
    if (singles == 1 && pairs == 1 && together == 3) {
      for (int32_t fy = height; fy > 0; --fy) {
        TAPS(FIRST_TAP NEXT_TAP NEXT_TAP WIDEN);
        x += next_row;
      }
    } else if (singles == 1 && pairs == 1) {
      for (int32_t fy = height; fy > 0; --fy) {
        TAPS(FIRST_TAP NEXT_TAP WIDEN FIRST_TAP WIDEN);
        x += next_row;
      }
    } else {
      for (int32_t fy = height; fy > 0; --fy) {
        for (int32_t i = pairs; i > 0; --i) {
          TAPS(FIRST_TAP NEXT_TAP WIDEN);
        }
        for (int32_t i = singles; i > 0; --i) {
          TAPS(FIRST_TAP WIDEN);
        }
        x += next_row;
      }
    }
    REQUANTIZE(a0, 0);
    REQUANTIZE(a1, 1);
    REQUANTIZE(a2, 2);
    REQUANTIZE(last, 3);
    int16x8_t even = vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(a0), a0), a2);
    int16x8_t odd = vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(a1), a1), last);
    even = vqaddq_n_s16(even, offset);
    odd = vqaddq_n_s16(odd, offset);
    int8x16_t codes = vqmovntq_s16(vqmovnbq_s16(vreinterpretq_s8_s16(even), even), odd);
    vstrbq_s8(output, vminq_s8(vmaxq_s8(codes, lowest), highest));
    rows += step;
    output += depth;
  }
}

void tflash_depthwise_conv_2d_s8_mve(const struct tflash_depthwise_conv_2d_s8_mve_params *p, const int8_t *input,
                                     int8_t *output) {
  const int32_t depth = p->input_channels;
  const int32_t positions = (p->output_width - 1) * p->stride_width + p->filter_width;
  const int32_t row_bytes = positions * depth;
  const int32_t readable = positions - p->pad_left < p->input_width ? positions - p->pad_left : p->input_width;
  const int32_t kept = p->filter_height > p->stride_height ? p->filter_height - p->stride_height : 0;
  for (int32_t b = 0; b < p->batches; ++b) {
    tflash_mve_fill(p->scratch, p->pad_code, p->filter_height * row_bytes);
    for (int32_t oy = 0; oy < p->output_height; ++oy) {
      const int32_t y = oy * p->stride_height - p->pad_top;
      if (oy > 0) {
        tflash_mve_copy(p->scratch, p->scratch + (p->filter_height - kept) * row_bytes, kept * row_bytes);
      }
      for (int32_t fy = oy > 0 ? kept : 0; fy < p->filter_height; ++fy) {
        int8_t *const row = p->scratch + fy * row_bytes;
        if (y + fy < 0 || y + fy >= p->input_height) {
          tflash_mve_fill(row, p->pad_code, row_bytes);
        } else {
          const int8_t *const from = input + (y + fy) * p->input_width * depth;
          tflash_mve_copy(row + p->pad_left * depth, from, readable * depth);
        }
      }
      int32_t c = 0;
      for (; c <= depth - 16; c += 16) {
        struct sixteen k;
        load_sixteen(p, c, &k);
        output_row_of_sixteen(p, &k, p->scratch + c, row_bytes, p->weights + c, output + c);
      }
      for (; c < depth; c += 8) {
        const struct block k = load_block(p, c);
        if (depth - c >= 8) {
          output_row(p, &k, p->scratch + c, row_bytes, p->weights + c, output + c, 1);
        } else {
          output_row(p, &k, p->scratch + c, row_bytes, p->weights + c, output + c, 0);
        }
      }
      output += p->output_width * depth;
    }
    input += p->input_height * p->input_width * depth;
  }
}
