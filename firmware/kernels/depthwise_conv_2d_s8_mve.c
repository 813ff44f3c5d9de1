/* 2-D depthwise convolution for Helium (MVE), int8 in, int8 out; any stride and padding, no dilation, depth multiplier 1.
 *   the formula and shapes of depthwise_conv_2d_s8.c, with
 *   bias     [input_channels]  int32  the model's - input zero point * sum of the channel's weights, modulo 2^32
 * The rows that one output row sees are kept in scratch, with their padding as zero points; then 8 channels x 2 pixels
 * share a load of weights and go through VMULLB and VMULLT. Helium has no vector multiply-accumulate that widens, so a
 * tap costs two products and two sums; on silicon these alternate between the multiplier and the adder.
 * Bit-exact with: depthwise_conv_2d_s8.c.
 * Overflow: sums wrap; aot/requantization.py proves for each layer that what they stand for fits int32.
 * Scratch: filter_height * ((output_width - 1) * stride_width + filter_width) * input_channels bytes.
 * The output may take the input's place: a row is in scratch before an output row that could cover it is written. */
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
  struct lanes left;
  struct lanes right;
};

static struct block load_block(const struct tflash_depthwise_conv_2d_s8_mve_params *p, int32_t c) {
  const uint32_t count = (uint32_t)(p->input_channels - c);
  const mve_pred16_t even_lanes = vctp32q((count + 1u) / 2u);
  const mve_pred16_t odd_lanes = vctp32q(count / 2u);
  const uint32x4_t even = vidupq_n_u32(0, 2);
  const uint32x4_t odd = vaddq_n_u32(even, 1);
  const int32x4_t zero = vdupq_n_s32(0);
  struct block k;
  k.channels = vctp16q(count);
  k.bias.even = vldrwq_gather_shifted_offset_z_s32(p->bias + c, even, even_lanes);
  k.bias.odd = vldrwq_gather_shifted_offset_z_s32(p->bias + c, odd, odd_lanes);
  struct lanes shift;
  if (p->per_channel != 0) {
    k.multiplier.even = vldrwq_gather_shifted_offset_z_s32(p->multipliers + c, even, even_lanes);
    k.multiplier.odd = vldrwq_gather_shifted_offset_z_s32(p->multipliers + c, odd, odd_lanes);
    shift.even = vldrbq_gather_offset_z_s32(p->shifts + c, even, even_lanes);
    shift.odd = vldrbq_gather_offset_z_s32(p->shifts + c, odd, odd_lanes);
  } else {
    k.multiplier.even = k.multiplier.odd = vdupq_n_s32(p->multipliers[0]);
    shift.even = shift.odd = vdupq_n_s32(p->shifts[0]);
  }
  k.left.even = vmaxq_s32(shift.even, zero);
  k.left.odd = vmaxq_s32(shift.odd, zero);
  k.right.even = vminq_s32(shift.even, zero);
  k.right.odd = vminq_s32(shift.odd, zero);
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
  codes = vqmovnbq_s32(codes, tflash_mve_requantize(acc.even, k->multiplier.even, k->left.even, k->right.even));
  codes = vqmovntq_s32(codes, tflash_mve_requantize(acc.odd, k->multiplier.odd, k->left.odd, k->right.odd));
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
      for (int32_t c = 0; c < depth; c += 8) {
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
