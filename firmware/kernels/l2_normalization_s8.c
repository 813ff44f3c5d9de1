/* Vectors of length 1, int8 in, int8 out.
 *   output[r, d] = clamp((input[r, d] + input_offset) * 2^7 / sqrt(sum_i (input[r, i] + input_offset)^2))
 *   input   [rows][depth] int8
 *   output  [rows][depth] int8, scale 1/128, zero point 0
 * Bit-exact with: TFLM's L2_NORMALIZATION (double rounding, the root by Newton steps).
 * Overflow: the sum is at most depth * 255^2; aot/ops/l2_normalization.py checks depth.
 * Scratch: none. The output may be the input. */
#include "l2_normalization_s8.h"

#include "inverse_sqrt.h"
#include "requant.h"

void tflash_l2_normalization_s8(const struct tflash_l2_normalization_s8_params *p, const int8_t *input,
    int8_t *output) {
  for (int32_t r = 0; r < p->rows; ++r) {
    int32_t sum = 0;
    for (int32_t d = 0; d < p->depth; ++d) {
      const int32_t x = input[d] + p->input_offset;
      sum += x * x;
    }
    int32_t shift = 0;
    const int32_t multiplier = tflash_inverse_sqrt(sum, &shift);
    for (int32_t d = 0; d < p->depth; ++d) {
      const int32_t y = tflash_requantize(input[d] + p->input_offset, multiplier, shift + 7);
      output[d] = (int8_t)tflash_clamp(y, INT8_MIN, INT8_MAX);
    }
    input += p->depth;
    output += p->depth;
  }
}
