/* Rectifier, int8 in, int8 out, with requantization.
 *   output = clamp(requant(input + input_offset) + output_offset), never below output_offset
 *   input   [size] int8
 *   output  [size] int8
 * Bit-exact with: TFLM's RELU (double rounding).
 * Overflow: aot/ops/relu.py proves it for each layer.
 * Scratch: none. The output may be the input. */
#include "relu_s8.h"

#include "requant.h"

void tflash_relu_s8(const struct tflash_relu_s8_params *p, const int8_t *input, int8_t *output) {
  for (int32_t i = 0; i < p->size; ++i) {
    const int32_t y = tflash_requantize(input[i] + p->input_offset, p->multiplier, p->shift) + p->output_offset;
    output[i] = (int8_t)tflash_clamp(y, p->output_offset, INT8_MAX);
  }
}
