/* Rectifier that stops at 6, int8 in, int8 out.
 *   output = clamp(input) to zero..six
 *   input   [size] int8
 *   output  [size] int8, codes of the input's scale and zero point
 * Bit-exact with: TFLM's RELU6, which does not requantize either.
 * Overflow: none possible.
 * Scratch: none. The output may be the input. */
#include "relu6_s8.h"

#include "requant.h"

void tflash_relu6_s8(const struct tflash_relu6_s8_params *p, const int8_t *input, int8_t *output) {
  for (int32_t i = 0; i < p->size; ++i) {
    output[i] = (int8_t)tflash_clamp(input[i], p->zero, p->six);
  }
}
