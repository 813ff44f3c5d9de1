/* The loops over windows of the pooling kernels that take several channels at once. These define
 *   TFLASH_PARAMS  the type of the parameters
 *   TFLASH_WINDOW(p, window, rows, columns, output)  pools all channels of a window, rows x columns positions
 *   TFLASH_BODY    how the function is declared */
#ifndef TFLASH_POOL_2D_WINDOWS_BODY_H
#define TFLASH_POOL_2D_WINDOWS_BODY_H

#include <stdint.h>

#include "window.h"

TFLASH_BODY(const TFLASH_PARAMS *p, const int8_t *input, int8_t *output) {
  const int32_t input_row = p->input_width * p->channels;

  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t y = 0; y < p->output_height; ++y) {
      const int32_t y_origin = y * p->stride_height - p->pad_top;
      const int32_t fy_first = tflash_first_tap(y_origin, 1);
      const int32_t rows = tflash_end_tap(y_origin, 1, p->filter_height, p->input_height) - fy_first;
      for (int32_t x = 0; x < p->output_width; ++x) {
        const int32_t x_origin = x * p->stride_width - p->pad_left;
        const int32_t fx_first = tflash_first_tap(x_origin, 1);
        const int32_t columns = tflash_end_tap(x_origin, 1, p->filter_width, p->input_width) - fx_first;
        TFLASH_WINDOW(p, input + (y_origin + fy_first) * input_row + (x_origin + fx_first) * p->channels, rows, columns,
                      output);
        output += p->channels;
      }
    }
    input += p->input_height * input_row;
  }
}

#endif /* TFLASH_POOL_2D_WINDOWS_BODY_H */
