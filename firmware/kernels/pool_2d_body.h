/* The loops of the pooling kernels, which hold the contracts. They define
 *   TFLASH_CODE, TFLASH_PARAMS  the types of codes and of the parameters
 *   TFLASH_START                what a window begins with
 *   TFLASH_TAKE(acc, code)      what a code makes of it
 *   TFLASH_RESULT(acc, count)   what comes out after `count` codes
 *   TFLASH_BODY                 how the function is declared */
#ifndef TFLASH_POOL_2D_BODY_H
#define TFLASH_POOL_2D_BODY_H

#include <stdint.h>

#include "requant.h"
#include "window.h"

TFLASH_BODY(const TFLASH_PARAMS *p, const TFLASH_CODE *input, TFLASH_CODE *output) {
  const int32_t input_row = p->input_width * p->channels;

  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t y = 0; y < p->output_height; ++y) {
      const int32_t y_origin = y * p->stride_height - p->pad_top;
      const int32_t fy_first = tflash_first_tap(y_origin, 1);
      const int32_t fy_end = tflash_end_tap(y_origin, 1, p->filter_height, p->input_height);
      for (int32_t x = 0; x < p->output_width; ++x) {
        const int32_t x_origin = x * p->stride_width - p->pad_left;
        const int32_t fx_first = tflash_first_tap(x_origin, 1);
        const int32_t fx_end = tflash_end_tap(x_origin, 1, p->filter_width, p->input_width);
        const int32_t count = (fy_end - fy_first) * (fx_end - fx_first);
        const int32_t window = (y_origin + fy_first) * input_row + (x_origin + fx_first) * p->channels;

        for (int32_t c = 0; c < p->channels; ++c) {
          int32_t row = window + c;
          int32_t acc = TFLASH_START;
          for (int32_t fy = fy_first; fy < fy_end; ++fy) {
            int32_t in = row;
            for (int32_t fx = fx_first; fx < fx_end; ++fx) {
              acc = TFLASH_TAKE(acc, input[in]);
              in += p->channels;
            }
            row += input_row;
          }
          acc = TFLASH_RESULT(acc, count);
          *output++ = (TFLASH_CODE)tflash_clamp(acc, p->activation_min, p->activation_max);
        }
      }
    }
    input += p->input_height * input_row;
  }
}

#endif /* TFLASH_POOL_2D_BODY_H */
