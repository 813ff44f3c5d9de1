/* 2-D average pooling, int8 in, int8 out, of equal scale and zero point.
 *   output[b][y][x][c] = clamp(round(sum of the window's codes inside the input / their count)), ties away from 0
 *   input   [batches][input_height][input_width][channels]    int8
 *   output  [batches][output_height][output_width][channels]  int8
 * Every window covers at least one input position.
 * Bit-exact with: TFLM's AVERAGE_POOL_2D reference kernel.
 * Overflow: a window of up to 2^24 - 1 positions is safe; aot/ops/pool.py checks it.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "average_pool_2d_s8.h"

/* One pooling in a network: small is better than unrolled. */
#include "small_code.h"

#include "requant.h"
#include "window.h"

void tflash_average_pool_2d_s8(const struct tflash_average_pool_2d_s8_params *p, const int8_t *input,
                               int8_t *output) {
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
          int32_t acc = 0;
          for (int32_t fy = fy_first; fy < fy_end; ++fy) {
            int32_t in = row;
            for (int32_t fx = fx_first; fx < fx_end; ++fx) {
              acc += input[in];
              in += p->channels;
            }
            row += input_row;
          }
          acc = (acc > 0 ? acc + count / 2 : acc - count / 2) / count;
          *output++ = (int8_t)tflash_clamp(acc, p->activation_min, p->activation_max);
        }
      }
    }
    input += p->input_height * input_row;
  }
}
