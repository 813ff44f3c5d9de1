/* The loops of conv_2d_s8.c and conv_2d_s8_w4.c, which hold the contract.
 * They say what weights are (weights.h) and how TFLASH_BODY, the function, is declared: inlined it would be slower. */
#ifndef TFLASH_CONV_2D_BODY_H
#define TFLASH_CONV_2D_BODY_H

#include "conv_2d_s8.h"

#include <stddef.h>

#include "requant.h"
#include "weights.h"
#include "window.h"

TFLASH_BODY(const struct tflash_conv_2d_s8_params *p, const int8_t *input, int8_t *output) {
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

        tflash_weight_cursor filter = TFLASH_FIRST_WEIGHT(p->weights);
        const int8_t *group = input;
        int32_t left_in_group = p->filters_per_group;
        for (int32_t o = 0; o < p->output_channels; ++o) {
          if (left_in_group == 0) {
            left_in_group = p->filters_per_group;
            group += p->filter_channels;
          }
          --left_in_group;
          int32_t acc = p->bias != NULL ? p->bias[o] : 0;
          for (int32_t fy = fy_first; fy < fy_end; ++fy) {
            const int32_t input_y = y_origin + fy * p->dilation_height;
            int32_t in = input_y * input_row + x_first * p->input_channels;
            int32_t w = fy * filter_row + fx_first * p->filter_channels;
            for (int32_t r = 0; r < runs; ++r) {
              for (int32_t i = 0; i < run; ++i) {
                acc += TFLASH_WEIGHT(p->weights, filter, w + i) * (group[in + i] + p->input_offset);
              }
              in += tap_step;
              w += p->filter_channels;
            }
          }
          filter += filter_size;
          const int32_t q = p->per_channel != 0 ? o : 0;
          acc = tflash_requantize(acc, p->multipliers[q], p->shifts[q]) + p->output_offset;
          *output++ = (int8_t)tflash_clamp(acc, p->activation_min, p->activation_max);
        }
      }
    }
    input += p->input_height * input_row;
  }
}

#endif /* TFLASH_CONV_2D_BODY_H */
