/* 2-D max pooling for Helium (MVE), int8 in, int8 out, of equal scale and zero point.
 * The formula and shapes of max_pool_2d_s8.c, sixteen channels at once. On silicon (Cortex-M55, two beats a cycle) a load
 * and the maximum with the one before overlap.
 * Bit-exact with: max_pool_2d_s8.c.
 * Overflow: none possible.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "max_pool_2d_s8_mve.h"

#include "mve.h"
#include "window.h"

void tflash_max_pool_2d_s8_mve(const struct tflash_max_pool_2d_s8_mve_params *p, const int8_t *input, int8_t *output) {
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
        const int8_t *const window = input + (y_origin + fy_first) * input_row + (x_origin + fx_first) * p->channels;

        for (int32_t c = 0; c < p->channels; c += 16) {
          const mve_pred16_t lanes = vctp8q((uint32_t)(p->channels - c));
          int8x16_t largest = vdupq_n_s8((int8_t)p->activation_min);
          const int8_t *row = window + c;
          for (int32_t fy = 0; fy < rows; ++fy) {
            const int8_t *at = row;
            for (int32_t fx = columns; fx > 0; --fx) {
              largest = vmaxq_s8(largest, vldrbq_z_s8(at, lanes));
              at += p->channels;
            }
            row += input_row;
          }
          vstrbq_p_s8(output + c, vminq_s8(largest, vdupq_n_s8((int8_t)p->activation_max)), lanes);
        }
        output += p->channels;
      }
    }
    input += p->input_height * input_row;
  }
}
