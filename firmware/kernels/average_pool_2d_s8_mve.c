/* 2-D average pooling for Helium (MVE), int8 in, int8 out, of equal scale and zero point.
 * The formula and shapes of average_pool_2d_s8.c, four channels at once; Helium does not divide, so each output takes
 * one scalar division.
 * Bit-exact with: average_pool_2d_s8.c.
 * Overflow: a window of up to 2^24 - 1 positions is safe; aot/ops/pool.py checks it.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "average_pool_2d_s8_mve.h"

#include "mve.h"
#include "window.h"

/* The codes of one window: rows x columns positions from `window` on. */
static inline int32x4_t window_sum(const int8_t *window, int32_t rows, int32_t columns, int32_t channels,
                                   int32_t input_row, mve_pred16_t lanes) {
  int32x4_t sum = vdupq_n_s32(0);
  for (int32_t y = 0; y < rows; ++y) {
    const int8_t *at = window;
    for (int32_t x = columns; x > 0; --x) {
      sum = vaddq_s32(sum, vldrbq_z_s32(at, lanes));
      at += channels;
    }
    window += input_row;
  }
  return sum;
}

void tflash_average_pool_2d_s8_mve(const struct tflash_average_pool_2d_s8_mve_params *p, const int8_t *input,
                                   int8_t *output) {
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
        const int32_t count = rows * columns;
        const int8_t *const window = input + (y_origin + fy_first) * input_row + (x_origin + fx_first) * p->channels;

        for (int32_t c = 0; c < p->channels; c += 4) {
          const mve_pred16_t lanes = vctp32q((uint32_t)(p->channels - c));
          int32_t sum[4];
          vstrwq_s32(sum, window_sum(window + c, rows, columns, p->channels, input_row, lanes));
          for (int32_t i = 0; i < 4; ++i) {
            sum[i] = (sum[i] > 0 ? sum[i] + count / 2 : sum[i] - count / 2) / count;
          }
          int32x4_t codes = vmaxq_s32(vldrwq_s32(sum), vdupq_n_s32(p->activation_min));
          codes = vminq_s32(codes, vdupq_n_s32(p->activation_max));
          vstrbq_p_s32(output + c, codes, lanes);
        }
        output += p->channels;
      }
    }
    input += p->input_height * input_row;
  }
}
