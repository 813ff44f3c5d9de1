/* 2-D depthwise convolution, int16 in, int16 out; any stride, dilation and depth multiplier, padding of any size.
 *   o = i * depth_multiplier + m
 *   output[b][y][x][o] = clamp(requant(bias[o] + sum input[b][y'][x'][i] * weights[fy][fx][o]))
 *   y' = y * stride_height - pad_top + fy * dilation_height, x' likewise; taps outside the input count 0
 *   input    [batches][input_height][input_width][input_channels]                       int16, zero point 0
 *   weights  [filter_height][filter_width][input_channels * depth_multiplier]           int8, symmetric
 *   bias     [input_channels * depth_multiplier]                                        int64
 *   output   [batches][output_height][output_width][input_channels * depth_multiplier]  int16, zero point 0
 * Bit-exact with: TFLM's DEPTHWISE_CONV_2D reference kernel (one rounding).
 * Overflow: aot/requantization.py proves for each layer that the sums stay where requantization is defined, and
 * aot/ops/depthwise_conv_2d.py that those without the bias are int32.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "depthwise_conv_2d_s16.h"

#include <stddef.h>

#include "requant.h"
#include "window.h"

void tflash_depthwise_conv_2d_s16(const struct tflash_depthwise_conv_2d_s16_params *p, const int16_t *input,
                                  int16_t *output) {
  const int32_t output_channels = p->input_channels * p->depth_multiplier;
  const int32_t input_row = p->input_width * p->input_channels;
  const int32_t filter_row = p->filter_width * output_channels;
  const int32_t tap_step = p->dilation_width * p->input_channels;

  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t y = 0; y < p->output_height; ++y) {
      const int32_t y_origin = y * p->stride_height - p->pad_top;
      const int32_t fy_first = tflash_first_tap(y_origin, p->dilation_height);
      const int32_t fy_end = tflash_end_tap(y_origin, p->dilation_height, p->filter_height, p->input_height);
      for (int32_t x = 0; x < p->output_width; ++x) {
        const int32_t x_origin = x * p->stride_width - p->pad_left;
        const int32_t fx_first = tflash_first_tap(x_origin, p->dilation_width);
        const int32_t fx_end = tflash_end_tap(x_origin, p->dilation_width, p->filter_width, p->input_width);
        const int32_t x_first = x_origin + fx_first * p->dilation_width;

        int32_t o = 0;
        for (int32_t i = 0; i < p->input_channels; ++i) {
          for (int32_t m = 0; m < p->depth_multiplier; ++m) {
            int32_t sum = 0;
            for (int32_t fy = fy_first; fy < fy_end; ++fy) {
              int32_t in = (y_origin + fy * p->dilation_height) * input_row + x_first * p->input_channels + i;
              int32_t w = fy * filter_row + fx_first * output_channels + o;
              for (int32_t fx = fx_first; fx < fx_end; ++fx) {
                sum += p->weights[w] * input[in];
                in += tap_step;
                w += output_channels;
              }
            }
            const int64_t biased = (p->bias != NULL ? p->bias[o] : 0) + (int64_t)sum;
            const int32_t q = p->per_channel != 0 ? o : 0;
            const int32_t code = tflash_requantize_wide(biased, p->multipliers[q], p->shifts[q]);
            *output++ = (int16_t)tflash_clamp(code, p->activation_min, p->activation_max);
            ++o;
          }
        }
      }
    }
    input += p->input_height * input_row;
  }
}
