/* Squared difference of two tensors, int8 in, int8 out, each repeated along the dimensions where the other is longer.
 *   x = requant1((input1 + offset1) * 2^7), y = requant2((input2 + offset2) * 2^7)
 *   output = clamp(requant((x - y)^2) + output_offset)
 *   input1, input2  int8, any shapes that broadcast to the output's; neighbouring dimensions are merged to four
 *   output          [shape] int8
 * Bit-exact with: TFLM's SQUARED_DIFFERENCE (double rounding).
 * Overflow: offset codes are within +-255 and the first multipliers at most 1/2, so the square is below 2^30;
 * aot/ops/elementwise.py proves the rest for each layer.
 * Scratch: none. The output may be an input that has the output's shape; else they must not overlap. */
#include "squared_difference_s8.h"

#include "requant.h"

static int8_t squared(const struct tflash_squared_difference_s8_params *p, int32_t a, int32_t b) {
  const int32_t left = INT32_C(1) << 7;
  const int32_t x = tflash_requantize((a + p->offset1) * left, p->multiplier1, p->shift1);
  const int32_t y = tflash_requantize((b + p->offset2) * left, p->multiplier2, p->shift2);
  const int32_t square = (x - y) * (x - y);
  const int32_t result = tflash_requantize(square, p->output_multiplier, p->output_shift) + p->output_offset;
  return (int8_t)tflash_clamp(result, INT8_MIN, INT8_MAX);
}

void tflash_squared_difference_s8(const struct tflash_squared_difference_s8_params *p, const int8_t *input1,
    const int8_t *input2, int8_t *output) {
  for (int32_t i = 0; i < p->shape[0]; ++i) {
    for (int32_t j = 0; j < p->shape[1]; ++j) {
      for (int32_t k = 0; k < p->shape[2]; ++k) {
        const int8_t *a = input1 + i * p->strides1[0] + j * p->strides1[1] + k * p->strides1[2];
        const int8_t *b = input2 + i * p->strides2[0] + j * p->strides2[1] + k * p->strides2[2];
        for (int32_t n = 0; n < p->shape[3]; ++n) {
          *output++ = squared(p, a[n * p->strides1[3]], b[n * p->strides2[3]]);
        }
      }
    }
  }
}
