/* Constant padding, int8.
 *   output[i + before] = input[i], and `value` elsewhere
 *   input   [input_shape] int8; neighbouring dimensions are merged to four
 *   output  [output_shape] int8
 * Bit-exact with: TFLM's PAD and PADV2.
 * Overflow: none possible.
 * Scratch: none. Input and output must not overlap. */
#include "pad_s8.h"

#include <stddef.h>
#include <string.h>

static int inside(const struct tflash_pad_s8_params *p, int32_t dimension, int32_t index) {
  return index >= p->before[dimension] && index < p->before[dimension] + p->input_shape[dimension];
}

void tflash_pad_s8(const struct tflash_pad_s8_params *p, const int8_t *input, int8_t *output) {
  const size_t output_row = (size_t)p->output_shape[3];
  const size_t input_row = (size_t)p->input_shape[3];
  for (int32_t i = 0; i < p->output_shape[0]; ++i) {
    for (int32_t j = 0; j < p->output_shape[1]; ++j) {
      for (int32_t k = 0; k < p->output_shape[2]; ++k) {
        memset(output, p->value, output_row);
        if (inside(p, 0, i) && inside(p, 1, j) && inside(p, 2, k)) {
          memcpy(output + p->before[3], input, input_row);
          input += input_row;
        }
        output += output_row;
      }
    }
  }
}
