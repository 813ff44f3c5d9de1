/* 2-D maximum pooling, int8 in, int8 out, of equal scale and zero point, for cores with SSUB8 and SEL; four channels or
 * more.
 * The formula and shapes of max_pool_2d_s8.c, four channels at once; the last four overlap those before.
 * Bit-exact with: max_pool_2d_s8.c.
 * Overflow: none possible.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far.
 *
 * A position of four channels takes a load, SSUB8, SEL and the loop; on a Cortex-M4 eight cycles, two of them the load's.
 * Words are unaligned where the channels are no multiple of four, which costs a cycle more. */
#include "max_pool_2d_s8_dsp.h"

#include "dsp.h"
#include "window.h"

void tflash_max_pool_2d_s8_dsp(const struct tflash_max_pool_2d_s8_dsp_params *p, const int8_t *input, int8_t *output) {
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
          const int8_t *row = window + first;
          uint32_t largest = tflash_four_codes(p->activation_min);
          for (int32_t fy = 0; fy < rows; ++fy) {
            const int8_t *at = row;
            for (int32_t fx = columns; fx > 0; --fx) {
              largest = tflash_larger_codes(tflash_load_word(at), largest);
              at += p->channels;
            }
            row += input_row;
          }
          tflash_store_word(output + first, tflash_lesser_codes(largest, tflash_four_codes(p->activation_max)));
        }
        output += p->channels;
      }
    }
    input += p->input_height * input_row;
  }
}
