/* Rectifiers, int16 in, int16 out, with requantization: RELU, RELU6, LEAKY_RELU.
 *   output = clamp(requant(input)) to INT16_MIN..most, with one multiplier from 0 on and another below
 *   input   [size] int16, zero point 0
 *   output  [size] int16, zero point 0
 * Bit-exact with: TFLM's kernels (double rounding).
 * Overflow: aot/ops/relu.py proves it for each layer.
 * Scratch: none. The output may be the input. */
#include "rectify_s16.h"

#include "requant.h"

void tflash_rectify_s16(const struct tflash_rectify_s16_params *p, const int16_t *input, int16_t *output) {
  for (int32_t i = 0; i < p->size; ++i) {
    const int32_t x = input[i];
    const int32_t y = x >= 0 ? tflash_requantize(x, p->multiplier, p->shift)
                             : tflash_requantize(x, p->negative_multiplier, p->negative_shift);
    output[i] = (int16_t)tflash_clamp(y, INT16_MIN, p->most);
  }
}
