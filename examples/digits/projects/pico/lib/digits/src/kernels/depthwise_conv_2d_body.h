/* The loops of depthwise_conv_2d_s8.c and depthwise_conv_2d_s8_w4.c, which hold the contract.
 * They say what weights are (weights.h) and how TFLASH_BODY, the function, is declared: inlined it would be slower. */
#ifndef TFLASH_DEPTHWISE_CONV_2D_BODY_H
#define TFLASH_DEPTHWISE_CONV_2D_BODY_H

#include "depthwise_conv_2d_s8.h"

#include <stddef.h>

#include "requant.h"
#include "weights.h"
#include "window.h"

TFLASH_BODY(const struct tflash_depthwise_conv_2d_s8_params *p, const int8_t *input, int8_t *output) {
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
            int32_t acc = p->bias != NULL ? p->bias[o] : 0;
            for (int32_t fy = fy_first; fy < fy_end; ++fy) {
              const int32_t input_y = y_origin + fy * p->dilation_height;
              int32_t in = input_y * input_row + x_first * p->input_channels + i;
              int32_t w = fy * filter_row + fx_first * output_channels + o;
              for (int32_t fx = fx_first; fx < fx_end; ++fx) {
                acc += TFLASH_WEIGHT(p->weights, TFLASH_FIRST_WEIGHT(p->weights), w) * (input[in] + p->input_offset);
                in += tap_step;
                w += output_channels;
              }
            }
            const int32_t q = p->per_channel != 0 ? o : 0;
            acc = tflash_requantize(acc, p->multipliers[q], p->shifts[q]) + p->output_offset;
            *output++ = (int8_t)tflash_clamp(acc, p->activation_min, p->activation_max);
            ++o;
          }
        }
      }
    }
    input += p->input_height * input_row;
  }
}

#endif /* TFLASH_DEPTHWISE_CONV_2D_BODY_H */
