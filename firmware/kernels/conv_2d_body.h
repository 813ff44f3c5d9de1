/* The loops of conv_2d_s8.c and conv_2d_s8_w4.c, which hold the contract.
 * They say what TFLASH_FILTERS is, tflash_filters_s8 or its twin, and how TFLASH_BODY, the function, is declared. */
#ifndef TFLASH_CONV_2D_BODY_H
#define TFLASH_CONV_2D_BODY_H

#include "conv_2d_s8.h"

#include "filters_s8.h"
#include "window.h"

TFLASH_BODY(const struct tflash_conv_2d_s8_params *p, const int8_t *input, int8_t *output) {
  const int32_t input_row = p->input_width * p->input_channels;
  const int32_t filter_row = p->filter_width * p->filter_channels;
  const int32_t row_step = p->dilation_height * input_row;
  /* Neighbouring taps of a row are neighbours in memory, so they make one run, and all rows one plane. */
  const int32_t dense = p->dilation_width == 1 && p->filter_channels == p->input_channels;
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
      const int32_t y_origin = y * p->stride_height - p->pad_top;
      const int32_t fy_first = tflash_first_tap(y_origin, p->dilation_height);
      const int32_t fy_end = tflash_end_tap(y_origin, p->dilation_height, p->filter_height, p->input_height);
      for (int32_t x = 0; x < p->output_width; ++x) {
        const int32_t x_origin = x * p->stride_width - p->pad_left;
        const int32_t fx_first = tflash_first_tap(x_origin, p->dilation_width);
        const int32_t fx_end = tflash_end_tap(x_origin, p->dilation_width, p->filter_width, p->input_width);
        const int32_t columns = fx_end - fx_first;
        const int32_t rows = columns > 0 && fy_end > fy_first ? fy_end - fy_first : 0;
        const struct tflash_window window = {
            .first = fy_first * filter_row + fx_first * p->filter_channels,
            .planes = dense ? 1 : rows,
            .plane_input_step = row_step,
            .plane_filter_step = filter_row,
            .runs = dense ? rows : columns,
            .run_input_step = dense ? row_step : p->dilation_width * p->input_channels,
            .run_filter_step = dense ? filter_row : p->filter_channels,
            .run = dense ? columns * p->filter_channels : p->filter_channels,
        };
        const int8_t *group = input;
        if (rows > 0) {
          group += (y_origin + fy_first * p->dilation_height) * input_row +
                   (x_origin + fx_first * p->dilation_width) * p->input_channels;
        }
        for (int32_t o = 0; o < p->output_channels; o += p->filters_per_group) {
          TFLASH_FILTERS(&filters, &window, group, o, o + p->filters_per_group, output + o);
          group += p->filter_channels;
        }
        output += p->output_channels;
      }
    }
    input += p->input_height * input_row;
  }
}

#endif /* TFLASH_CONV_2D_BODY_H */
