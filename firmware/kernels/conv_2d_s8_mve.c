/* 2-D convolution for Helium (MVE), int8 in, int8 out; any stride, dilation and padding, one group.
 *   the formula and shapes of conv_2d_s8.c, with
 *   bias     [output_channels]  int32  the model's - input zero point * sum of the channel's weights, modulo 2^32
 * Three pixels at once: each one's patch of the input is gathered in scratch, padding as zero points, or read where it
 * lies when the filter is 1 x 1; then 2 filters x 3 patches share their loads, 6 VMLADAVA of 16 products to 5 loads.
 * On silicon (Cortex-M55, two beats a cycle) loads and VMLADAVA alternate and overlap.
 * Bit-exact with: conv_2d_s8.c.
 * Overflow: sums wrap; aot/requantization.py proves for each layer that what they stand for fits int32.
 * Scratch: 3 * filter_height * filter_width * input_channels bytes, none for 1 x 1.
 * Three outputs at a time are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "conv_2d_s8_mve.h"

#include <stddef.h>

#include "mve_rows.h"

static int32_t limited(int32_t value, int32_t high) {
  return value < 0 ? 0 : (value > high ? high : value);
}

/* What the filter sees at one output position, tap after tap. */
static void gather(const struct tflash_conv_2d_s8_mve_params *p, const int8_t *input, int32_t y, int32_t x,
                   int8_t *patch) {
  const int32_t depth = p->input_channels;
  const int32_t row = p->filter_width * depth;
  const int32_t first = limited(-x, p->filter_width);
  const int32_t end = limited(p->input_width - x, p->filter_width);
  if (y >= 0 && y + p->filter_height <= p->input_height && end - first == p->filter_width &&
      p->dilation_height == 1 && p->dilation_width == 1) {
    const int8_t *from = input + (y * p->input_width + x) * depth;
    const int32_t step = p->input_width * depth;
    for (int32_t fy = p->filter_height; fy > 0; --fy, patch += row, from += step) {
      tflash_mve_copy(patch, from, row);
    }
    return;
  }
  for (int32_t fy = 0; fy < p->filter_height; ++fy, y += p->dilation_height, patch += row) {
    const int8_t *const from = input + (y * p->input_width + x) * depth;
    if (y < 0 || y >= p->input_height) {
      tflash_mve_fill(patch, p->pad_code, row);
    } else if (p->dilation_width == 1) {
      tflash_mve_fill(patch, p->pad_code, first * depth);
      tflash_mve_copy(patch + first * depth, from + first * depth, (end - first) * depth);
      tflash_mve_fill(patch + end * depth, p->pad_code, row - end * depth);
    } else {
      for (int32_t fx = 0; fx < p->filter_width; ++fx) {
        const int32_t at = fx * p->dilation_width;
        if (x + at < 0 || x + at >= p->input_width) {
          tflash_mve_fill(patch + fx * depth, p->pad_code, depth);
        } else {
          tflash_mve_copy(patch + fx * depth, from + at * depth, depth);
        }
      }
    }
  }
}

void tflash_conv_2d_s8_mve(const struct tflash_conv_2d_s8_mve_params *p, const int8_t *input, int8_t *output) {
  const struct tflash_mve_filters filters = {
      .weights = p->weights,
      .bias = p->bias,
      .multipliers = p->multipliers,
      .shifts = p->shifts,
      .per_channel = p->per_channel,
      .depth = p->filter_height * p->filter_width * p->input_channels,
      .channels = p->output_channels,
      .output_offset = p->output_offset,
      .activation_min = p->activation_min,
      .activation_max = p->activation_max,
  };
  const int8_t *row[3];
  int32_t rows = 0;
  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t oy = 0; oy < p->output_height; ++oy) {
      const int32_t y = oy * p->stride_height - p->pad_top;
      int32_t x = -p->pad_left;
      for (int32_t ox = 0; ox < p->output_width; ++ox, x += p->stride_width) {
        if (p->scratch == NULL) {
          row[rows] = input + (y * p->input_width + x) * p->input_channels;
        } else {
          int8_t *const patch = p->scratch + rows * filters.depth;
          gather(p, input, y, x, patch);
          row[rows] = patch;
        }
        if (++rows == 3) {
          tflash_mve_rows(&filters, row, 3, output);
          output += 3 * p->output_channels;
          rows = 0;
        }
      }
    }
    input += p->input_height * p->input_width * p->input_channels;
  }
  if (rows > 0) {
    tflash_mve_rows(&filters, row, rows, output);
  }
}
