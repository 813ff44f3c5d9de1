/* 2-D depthwise convolution for Helium (MVE), int8 in, int8 out; any stride and padding, no dilation, one filter a
 * channel.
 *   the formula and shapes of depthwise_conv_2d_s8.c, with
 *   weights  of sixteen channels each [filter_height][filter_width][16] in turn, of the channels left over
 *            [filter_height][filter_width][channels left over]
 *   bias     [input_channels]  int32  the model's - input zero point * sum of the channel's weights, modulo 2^32
 * The rows that one output row sees are kept in scratch, with their padding as zero points. Helium has no vector
 * multiply-accumulate that widens. Sixteen channels at once, products of neighbouring taps are added up as int16
 * where the weights allow, before VMOVL widens the sums; what is left of the channels goes eight at once, 2 pixels
 * sharing the weights, with products of 32 bits. On silicon loads, products and sums overlap.
 * Bit-exact with: depthwise_conv_2d_s8.c.
 * Overflow: sums wrap; aot/requantization.py proves for each layer that what they stand for fits int32, and
 *   aot/ops/depthwise_conv_2d.py that any taps_together neighbouring products add up to an int16;
 *   neighbours are taps of a row, and of a filter of 3 x 3 the last of a row and the first of the next.
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

/* One output row of up to eight channels; all: all eight exist. weight_step: bytes from one tap to the next. */
static inline void output_row(const struct tflash_depthwise_conv_2d_s8_mve_params *p, const struct block *k,
                              const int8_t *rows, int32_t row_bytes, const int8_t *weights, int32_t weight_step,
                              int8_t *output, int32_t all) {
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
        w += weight_step;
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

/* The assembly knows where the fields are. */
struct sixteen {
  struct part part[4];
  int32x4_t sum; /* of part 3: eight vectors are one too few */
  int8x16_t lowest;
  int8x16_t highest;
};

static void load_sixteen(const struct tflash_depthwise_conv_2d_s8_mve_params *p, int32_t c, struct sixteen *k) {
  const uint32x4_t every_fourth = vidupq_n_u32(0, 4);
  k->lowest = vdupq_n_s8((int8_t)p->activation_min);
  k->highest = vdupq_n_s8((int8_t)p->activation_max);
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

/* In assembly: GCC 12 keeps too many loads under way and spills the sums. q0 to q2 are three of the four sums; q6 and q7
 * are int16 sums of the even and odd channels. */
#define FIRST_TAP                 \
  "vldrb.8 q4, [%[x]]\n"          \
  "vldrb.8 q5, [%[w]], #16\n"     \
  "add %[x], %[x], %[depth]\n"    \
  "vmullb.s8 q6, q4, q5\n"        \
  "vmullt.s8 q7, q4, q5\n"
#define NEXT_TAP                  \
  "vldrb.8 q4, [%[x]]\n"          \
  "vldrb.8 q5, [%[w]], #16\n"     \
  "add %[x], %[x], %[depth]\n"    \
  "vmullb.s8 q3, q4, q5\n"        \
  "vmullt.s8 q4, q4, q5\n"        \
  "vadd.i16 q6, q6, q3\n"         \
  "vadd.i16 q7, q7, q4\n"
#define NEXT_ROW "add %[x], %[x], %[next_row]\n"
/* The int16 sums are added to the others; the fourth comes from `from` and stays in q3. */
#define WIDEN_FROM(from)          \
  "vmovlb.s16 q3, q6\n"           \
  "vmovlb.s16 q4, q7\n"           \
  "vadd.i32 q0, q0, q3\n"         \
  "vmovlt.s16 q5, q6\n"           \
  "vadd.i32 q1, q1, q4\n"         \
  "vldrw.32 q3, [%[k], #" from "]\n" \
  "vmovlt.s16 q4, q7\n"           \
  "vadd.i32 q2, q2, q5\n"         \
  "vadd.i32 q3, q3, q4\n"
#define BIAS "144"
#define SUM "192"
#define TO_SUM "vstrw.32 q3, [%[k], #" SUM "]\n"
#define BEGIN                     \
  "vldrw.32 q0, [%[k]]\n"         \
  "vldrw.32 q1, [%[k], #48]\n"    \
  "vldrw.32 q2, [%[k], #96]\n"
/* tflash_mve_requantize with a part's multiplier and shift. */
#define REQUANTIZE(q, multiplier, shift)     \
  "vldrw.32 q4, [%[k], #" multiplier "]\n"   \
  "vqrdmulh.s32 " q ", " q ", q4\n"          \
  "vldrw.32 q4, [%[k], #" shift "]\n"        \
  "vshr.s32 q5, " q ", #31\n"                \
  "vadd.i32 " q ", " q ", q5\n"              \
  "vrshl.s32 " q ", " q ", q4\n"
/* Saturating to int16 before the offset changes nothing: what it cuts off would be clamped to int8 anyway. */
#define END                       \
  REQUANTIZE("q0", "16", "32")    \
  REQUANTIZE("q1", "64", "80")    \
  REQUANTIZE("q2", "112", "128")  \
  REQUANTIZE("q3", "160", "176")  \
  "vqmovnb.s32 q0, q0\n"          \
  "vqmovnt.s32 q0, q2\n"          \
  "vqmovnb.s32 q1, q1\n"          \
  "vqmovnt.s32 q1, q3\n"          \
  "vqadd.s16 q0, q0, %[offset]\n" \
  "vqadd.s16 q1, q1, %[offset]\n" \
  "vldrw.32 q2, [%[k], #208]\n"   \
  "vqmovnb.s16 q0, q0\n"          \
  "vqmovnt.s16 q0, q1\n"          \
  "vmax.s8 q0, q0, q2\n"          \
  "vldrw.32 q2, [%[k], #224]\n"   \
  "vmin.s8 q0, q0, q2\n"          \
  "vstrb.8 q0, [%[output]]\n"
#define TAPS(instructions)                                                                              \
  __asm volatile(instructions                                                                           \
                 : [x] "+r"(x), [w] "+r"(w), "+w"(a0), "+w"(a1), "+w"(a2)                               \
                 : [k] "r"(k), [depth] "r"(depth), [offset] "r"(p->output_offset), [output] "r"(output) \
                 : "q3", "q4", "q5", "q6", "q7", "memory")
#define SIXTEEN(instructions)                                                                           \
  __asm volatile(instructions                                                                           \
                 : [x] "+r"(x), [w] "+r"(w)                                                             \
                 : [k] "r"(k), [depth] "r"(depth), [next_row] "r"(next_row), [offset] "r"(p->output_offset), \
                   [output] "r"(output)                                                                 \
                 : "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "memory")

/* One output row of sixteen channels. */
__attribute__((noinline)) static void output_row_of_sixteen(const struct tflash_depthwise_conv_2d_s8_mve_params *p,
                                                            struct sixteen *k, const int8_t *rows,
                                                            int32_t row_bytes, const int8_t *weights, int8_t *output) {
  const int32_t depth = p->input_channels;
  const int32_t step = p->stride_width * depth;
  const int32_t next_row = row_bytes - p->filter_width * depth;
  const int32_t height = p->filter_height;
  const int32_t together = p->taps_together;
  const int32_t pairs = together >= 2 ? p->filter_width / 2 : 0;
  const int32_t singles = p->filter_width - 2 * pairs;
  const int32_t is_3x3 = p->filter_width == 3 && height == 3;
  for (int32_t left = p->output_width; left > 0; --left) {
    const int8_t *w = weights;
    const int8_t *x = rows;
    if (is_3x3 && together == 3) {
      SIXTEEN(BEGIN                                                                         /**/
              FIRST_TAP NEXT_TAP NEXT_TAP NEXT_ROW WIDEN_FROM(BIAS) TO_SUM                  /**/
              FIRST_TAP NEXT_TAP NEXT_TAP NEXT_ROW WIDEN_FROM(SUM) TO_SUM                   /**/
              FIRST_TAP NEXT_TAP NEXT_TAP WIDEN_FROM(SUM) END);
    } else if (is_3x3 && together == 2) {
      SIXTEEN(BEGIN                                                                         /**/
              FIRST_TAP NEXT_TAP WIDEN_FROM(BIAS) TO_SUM                                    /**/
              FIRST_TAP NEXT_ROW NEXT_TAP WIDEN_FROM(SUM) TO_SUM                            /**/
              FIRST_TAP NEXT_TAP NEXT_ROW WIDEN_FROM(SUM) TO_SUM                            /**/
              FIRST_TAP NEXT_TAP WIDEN_FROM(SUM) TO_SUM                                     /**/
              FIRST_TAP WIDEN_FROM(SUM) END);
    } else {
      register int32x4_t a0 __asm("q0") = k->part[0].bias;
      register int32x4_t a1 __asm("q1") = k->part[1].bias;
      register int32x4_t a2 __asm("q2") = k->part[2].bias;
      k->sum = k->part[3].bias;
      for (int32_t fy = height; fy > 0; --fy) {
        for (int32_t i = pairs; i > 0; --i) {
          TAPS(FIRST_TAP NEXT_TAP WIDEN_FROM(SUM) TO_SUM);
        }
        for (int32_t i = singles; i > 0; --i) {
          TAPS(FIRST_TAP WIDEN_FROM(SUM) TO_SUM);
        }
        x += next_row;
      }
      TAPS("vldrw.32 q3, [%[k], #" SUM "]\n" END);
    }
    rows += step;
    output += depth;
  }
}

void tflash_depthwise_conv_2d_s8_mve(const struct tflash_depthwise_conv_2d_s8_mve_params *p, const int8_t *input,
                                     int8_t *output) {
  const int32_t depth = p->input_channels;
  const int32_t positions = (p->output_width - 1) * p->stride_width + p->filter_width;
  const int32_t row_bytes = positions * depth;
  const int32_t taps = p->filter_height * p->filter_width;
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
      const int8_t *weights = p->weights;
      int32_t c = 0;
      for (; c <= depth - 16; c += 16) {
        struct sixteen k;
        load_sixteen(p, c, &k);
        output_row_of_sixteen(p, &k, p->scratch + c, row_bytes, weights, output + c);
        weights += 16 * taps;
      }
      for (; c < depth; c += 8) {
        const struct block k = load_block(p, c);
        if (depth - c >= 8) {
          output_row(p, &k, p->scratch + c, row_bytes, weights, depth & 15, output + c, 1);
        } else {
          output_row(p, &k, p->scratch + c, row_bytes, weights, depth & 15, output + c, 0);
        }
        weights += 8;
      }
      output += p->output_width * depth;
    }
    input += p->input_height * p->input_width * depth;
  }
}
