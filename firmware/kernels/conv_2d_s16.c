/* 2-D convolution, int16 in, int16 out; any stride and dilation, padding of any size on each side, groups.
 *   output[b][y][x][o] = clamp(requant(bias[o] + sum input[b][y'][x'][i'] * weights[o][fy][fx][i]))
 *   y' = y * stride_height - pad_top + fy * dilation_height, x' likewise; taps outside the input count 0
 *   i' = i + filter_channels * (o / filters_per_group)
 *   input    [batches][input_height][input_width][input_channels]                     int16, zero point 0
 *   weights  [output_channels][filter_height][filter_width][filter_channels]          int8, symmetric
 *   bias     [output_channels]                                                        int64
 *   output   [batches][output_height][output_width][output_channels]                  int16, zero point 0
 * Bit-exact with: TFLM's CONV_2D reference kernel: one rounding, or two where the model's bias is int32.
 * Overflow: aot/requantization.py proves for each layer that the sums stay where requantization is defined.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "conv_2d_s16.h"

#include <stddef.h>

#include "dot_s16.h"
#include "window.h"

/* Functions of their own, for the loops around them leave no registers to these. */
__attribute__((noinline)) static int64_t dot(const int16_t *codes, const int8_t *weights, int32_t count) {
  return tflash_dot_s16(codes, weights, count);
}

__attribute__((noinline)) static int16_t finished(const struct tflash_conv_2d_s16_params *p, int64_t sum, int32_t o) {
  const int32_t q = p->per_channel != 0 ? o : 0;
  const int64_t biased = (p->bias != NULL ? p->bias[o] : 0) + sum;
  const int32_t code = tflash_code_of_sum(biased, p->multipliers[q], p->shifts[q], p->rounds_twice);
  return (int16_t)tflash_clamp(code, p->activation_min, p->activation_max);
}

void tflash_conv_2d_s16(const struct tflash_conv_2d_s16_params *p, const int16_t *input, int16_t *output) {
  const int32_t input_row = p->input_width * p->input_channels;
  const int32_t filter_row = p->filter_width * p->filter_channels;
  const int32_t filter_size = p->filter_height * filter_row;
  const int32_t tap_step = p->dilation_width * p->input_channels;
  /* Neighbouring taps of a row are neighbours in memory, so they make one run. */
  const int32_t dense = p->dilation_width == 1 && p->filter_channels == p->input_channels;

  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t y = 0; y < p->output_height; ++y) {
      const int32_t y_origin = y * p->stride_height - p->pad_top;
      const int32_t fy_first = tflash_first_tap(y_origin, p->dilation_height);
      const int32_t fy_end = tflash_end_tap(y_origin, p->dilation_height, p->filter_height, p->input_height);
      for (int32_t x = 0; x < p->output_width; ++x) {
        const int32_t x_origin = x * p->stride_width - p->pad_left;
        const int32_t fx_first = tflash_first_tap(x_origin, p->dilation_width);
        const int32_t fx_end = tflash_end_tap(x_origin, p->dilation_width, p->filter_width, p->input_width);
        const int32_t columns = fx_end > fx_first ? fx_end - fx_first : 0;
        const int32_t runs = dense && columns > 0 ? 1 : columns;
        const int32_t run = dense ? columns * p->filter_channels : p->filter_channels;
        const int32_t x_first = x_origin + fx_first * p->dilation_width;

        const int8_t *filter = p->weights;
        const int16_t *group = input;
        int32_t left_in_group = p->filters_per_group;
        for (int32_t o = 0; o < p->output_channels; ++o) {
          if (left_in_group == 0) {
            left_in_group = p->filters_per_group;
            group += p->filter_channels;
          }
          --left_in_group;
          int64_t sum = 0;
          for (int32_t fy = fy_first; fy < fy_end; ++fy) {
            int32_t in = (y_origin + fy * p->dilation_height) * input_row + x_first * p->input_channels;
            int32_t w = fy * filter_row + fx_first * p->filter_channels;
            for (int32_t r = 0; r < runs; ++r) {
              sum += dot(group + in, filter + w, run);
              in += tap_step;
              w += p->filter_channels;
            }
          }
          filter += filter_size;
          *output++ = finished(p, sum, o);
        }
      }
    }
    input += p->input_height * input_row;
  }
}
