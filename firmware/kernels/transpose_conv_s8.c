/* Transposed 2-D convolution, int8 in, int8 out; any stride, padding before and after of any size.
 *   output[b][y][x][o] = clamp(requant(bias[o] + sum (input[b][y'][x'][i] + input_offset) * weights[o][fy][fx][i])
 *                              + output_offset)
 *   over all taps with y' * stride_height + fy = y + pad_top, x' likewise, and y', x' inside the input
 *   input    [batches][input_height][input_width][input_channels]              int8
 *   weights  [output_channels][filter_height][filter_width][input_channels]    int8, symmetric
 *   bias     [output_channels]                                                 int32
 *   output   [batches][output_height][output_width][output_channels]           int8
 * Bit-exact with: TFLM's TRANSPOSE_CONV reference kernel (double rounding). That one scatters into an int32 copy of the
 * output; here each output gathers its taps, so that none is needed.
 * Overflow: aot/requantization.py proves for each layer that no partial sum leaves int32.
 * Scratch: none. Input and output must not overlap. */
#include "transpose_conv_s8.h"

#include "filters_s8.h"

/* The taps of one output position: first, first + stride, .., so many as count says; the first one reads input position
 * `input`, each further one the position before. */
struct taps {
  int32_t first;
  int32_t count;
  int32_t input;
};

static struct taps taps_of(int32_t position, int32_t stride, int32_t filter, int32_t size) {
  struct taps t;
  t.first = position % stride;
  t.input = position / stride;
  if (t.input >= size) {
    t.first += (t.input - (size - 1)) * stride;
    t.input = size - 1;
  }
  const int32_t end = filter <= position ? filter : position + 1;
  t.count = end > t.first ? (end - t.first + stride - 1) / stride : 0;
  return t;
}

void tflash_transpose_conv_s8(const struct tflash_transpose_conv_s8_params *p, const int8_t *input, int8_t *output) {
  const int32_t depth = p->input_channels;
  const int32_t input_row = p->input_width * depth;
  const int32_t filter_row = p->filter_width * depth;
  const struct tflash_filters filters = {
      .weights = p->weights,
      .bias = p->bias,
      .multipliers = p->multipliers,
      .shifts = p->shifts,
      .per_channel = p->per_channel,
      .size = p->filter_height * filter_row,
      .input_offset = p->input_offset,
      .output_offset = p->output_offset,
      .activation_min = p->activation_min,
      .activation_max = p->activation_max,
  };
  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t y = 0; y < p->output_height; ++y) {
      const struct taps ty = taps_of(y + p->pad_top, p->stride_height, p->filter_height, p->input_height);
      for (int32_t x = 0; x < p->output_width; ++x) {
        const struct taps tx = taps_of(x + p->pad_left, p->stride_width, p->filter_width, p->input_width);
        const struct tflash_window window = {
            .first = ty.first * filter_row + tx.first * depth,
            .planes = ty.count,
            .plane_input_step = -input_row,
            .plane_filter_step = p->stride_height * filter_row,
            .runs = tx.count,
            .run_input_step = -depth,
            .run_filter_step = p->stride_width * depth,
            .run = depth,
        };
        tflash_filters_s8(&filters, &window, input + ty.input * input_row + tx.input * depth, 0, p->output_channels,
                          output);
        output += p->output_channels;
      }
    }
    input += p->input_height * input_row;
  }
}
