/* 2-D average pooling for Helium (MVE), int8 in, int8 out, of equal scale and zero point.
 * The formula and shapes of average_pool_2d_s8.c, eight channels at once; Helium does not divide, so each output takes
 * one scalar division, which is most of the time where windows are small. On silicon (Cortex-M55, two beats a cycle) a
 * load and the sum with the one before overlap.
 * Bit-exact with: average_pool_2d_s8.c.
 * Overflow: sums of up to 256 positions are int16, whole windows int32; aot/ops/pool.py says how many rows go together.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "average_pool_2d_s8_mve.h"

#include "mve.h"
#include "window.h"

/* The codes of one window: rows x columns positions of eight channels from `window` on. */
static inline struct tflash_mve_sums window_sums(const struct tflash_average_pool_2d_s8_mve_params *p,
                                                 const int8_t *window, int32_t rows, int32_t columns,
                                                 mve_pred16_t lanes) {
  struct tflash_mve_sums sums = {vdupq_n_s32(0), vdupq_n_s32(0)};
  for (int32_t y = 0; y < rows;) {
    const int32_t end = y + p->rows_together < rows ? y + p->rows_together : rows;
    int16x8_t together = vdupq_n_s16(0);
    for (; y < end; ++y) {
      together = tflash_mve_add_positions(together, window, columns, p->channels, lanes);
      window += p->input_width * p->channels;
    }
    sums = tflash_mve_widen(sums, together);
  }
  return sums;
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

        for (int32_t c = 0; c < p->channels; c += 8) {
          const mve_pred16_t lanes = vctp16q((uint32_t)(p->channels - c));
          const struct tflash_mve_sums sums = window_sums(p, window + c, rows, columns, lanes);
          int16_t codes[8];
          int32_t even_odd[8];
          vst2q_s32(even_odd, ((int32x4x2_t){{sums.even, sums.odd}}));
          for (int32_t i = 0; i < 8; ++i) {
            const int32_t sum = even_odd[i];
            codes[i] = (int16_t)((sum > 0 ? sum + count / 2 : sum - count / 2) / count);
          }
          int16x8_t clamped = vmaxq_s16(vldrhq_s16(codes), vdupq_n_s16((int16_t)p->activation_min));
          clamped = vminq_s16(clamped, vdupq_n_s16((int16_t)p->activation_max));
          vstrbq_p_s16(output + c, clamped, lanes);
        }
        output += p->channels;
      }
    }
    input += p->input_height * input_row;
  }
}
