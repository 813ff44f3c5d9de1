/* Dequantization, int8 in, float32 out.
 *   output = scale * (input - zero_point), rounded once
 *   input   [size] int8
 *   output  [size] float32
 * Bit-exact with: TFLM's DEQUANTIZE. That multiplies in double, where the product is exact, and rounds to float32; a
 * float32 product of the same exact factors is rounded once as well, and there is no sum to contract it with.
 * Overflow: none possible.
 * Scratch: none. Input and output must not overlap. */
#include "dequantize_s8.h"

void tflash_dequantize_s8(const struct tflash_dequantize_s8_params *p, const int8_t *input, float *output) {
  for (int32_t i = 0; i < p->size; ++i) {
    output[i] = p->scale * (float)(input[i] - p->zero_point);
  }
}
