/* 2-D average pooling, int8 in, int8 out, of equal scale and zero point, for cores with SXTAB16; four channels or more.
 * The formula and shapes of average_pool_2d_s8.c, four channels at once; the last four overlap those before.
 * Bit-exact with: average_pool_2d_s8.c.
 * Overflow: sums of up to 256 positions are int16, whole windows int32; aot/ops/pool.py says how many rows go together.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far.
 *
 * A position of four channels takes a load, two SXTAB16 and the loop; on a Cortex-M4 eight cycles, two of them the
 * load's. Words are unaligned where the channels are no multiple of four, which costs a cycle more. Each output takes a
 * division, of 2 to 12 cycles. */
#include "average_pool_2d_s8_dsp.h"

#include "dsp.h"
#include "requant.h"
#include "window.h"

/* Four channels of a window of rows x columns positions. */
static void average(const struct tflash_average_pool_2d_s8_dsp_params *p, const int8_t *window, int32_t rows,
                    int32_t columns, int8_t *output) {
  const int32_t count = rows * columns;
  int32_t sums[4] = {0, 0, 0, 0};
  for (int32_t y = 0; y < rows;) {
    const int32_t end = y + p->rows_together < rows ? y + p->rows_together : rows;
    uint32_t pairs[2] = {0, 0};
    for (; y < end; ++y) {
      tflash_add_positions(window, columns, p->channels, pairs);
      window += p->input_width * p->channels;
    }
    tflash_widen_sums(pairs, sums);
  }
  for (int32_t i = 0; i < 4; ++i) {
    const int32_t rounding = sums[i] > 0 ? count / 2 : -(count / 2);
    output[i] = (int8_t)tflash_clamp((sums[i] + rounding) / count, p->activation_min, p->activation_max);
  }
}

void tflash_average_pool_2d_s8_dsp(const struct tflash_average_pool_2d_s8_dsp_params *p, const int8_t *input,
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
        const int8_t *const window = input + (y_origin + fy_first) * input_row + (x_origin + fx_first) * p->channels;
        for (int32_t c = 0; c < p->channels; c += 4) {
          const int32_t first = c <= p->channels - 4 ? c : p->channels - 4;
          average(p, window + first, rows, columns, output + first);
        }
        output += p->channels;
      }
    }
    input += p->input_height * input_row;
  }
}
