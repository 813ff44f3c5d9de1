/* Rectifier with a slope for each element, int8 in, int8 out; input and slopes repeat where the other is longer.
 *   x = input + offset1
 *   output = clamp(requant(x) + output_offset)                              where x is not negative
 *            clamp(slope_requant(x * (slope + offset2)) + output_offset)    where it is
 *   input, slopes  int8, any shapes that broadcast to the output's; neighbouring dimensions are merged to four
 *   output         [shape] int8
 * Bit-exact with: TFLM's PRELU (double rounding).
 * Overflow: aot/ops/elementwise.py proves it for each layer.
 * Scratch: none. The output may be an input that has the output's shape; else they must not overlap. */
#include "prelu_s8.h"

#include "requant.h"

static int8_t rectified(const struct tflash_prelu_s8_params *p, int32_t input, int32_t slope) {
  const int32_t x = input + p->offset1;
  const int32_t result = x >= 0 ? tflash_requantize(x, p->multiplier, p->shift)
                                : tflash_requantize(x * (slope + p->offset2), p->slope_multiplier, p->slope_shift);
  return (int8_t)tflash_clamp(result + p->output_offset, INT8_MIN, INT8_MAX);
}

void tflash_prelu_s8(const struct tflash_prelu_s8_params *p, const int8_t *input, const int8_t *slopes, int8_t *output) {
  for (int32_t i = 0; i < p->shape[0]; ++i) {
    for (int32_t j = 0; j < p->shape[1]; ++j) {
      for (int32_t k = 0; k < p->shape[2]; ++k) {
        const int8_t *a = input + i * p->strides1[0] + j * p->strides1[1] + k * p->strides1[2];
        const int8_t *b = slopes + i * p->strides2[0] + j * p->strides2[1] + k * p->strides2[2];
        for (int32_t n = 0; n < p->shape[3]; ++n) {
          *output++ = rectified(p, a[n * p->strides1[3]], b[n * p->strides2[3]]);
        }
      }
    }
  }
}
