/* Sum of two tensors, int8 in, int8 out, each repeated along the dimensions where the other is longer.
 *   x = requant1((input1 + offset1) * 2^20), y = requant2((input2 + offset2) * 2^20)
 *   output = clamp(requant(x + y) + output_offset)
 *   input1, input2  int8, any shapes that broadcast to the output's; neighbouring dimensions are merged to four
 *   output          [shape] int8
 * Bit-exact with: TFLM's ADD (double rounding).
 * Overflow: none possible. Offset codes are within +-255 and the multipliers below 1/2, 1/2 and 1.
 * Scratch: none. The output may be an input that has the output's shape; else they must not overlap. */
#include "add_s8.h"

#include "requant.h"

static int8_t add(const struct tflash_add_s8_params *p, int32_t a, int32_t b) {
  const int32_t left = INT32_C(1) << 20;
  const int32_t x = tflash_requantize((a + p->offset1) * left, p->multiplier1, p->shift1);
  const int32_t y = tflash_requantize((b + p->offset2) * left, p->multiplier2, p->shift2);
  const int32_t result = tflash_requantize(x + y, p->output_multiplier, p->output_shift) + p->output_offset;
  return (int8_t)tflash_clamp(result, p->activation_min, p->activation_max);
}

void tflash_add_s8(const struct tflash_add_s8_params *p, const int8_t *input1, const int8_t *input2, int8_t *output) {
  for (int32_t i = 0; i < p->shape[0]; ++i) {
    for (int32_t j = 0; j < p->shape[1]; ++j) {
      for (int32_t k = 0; k < p->shape[2]; ++k) {
        const int8_t *a = input1 + i * p->strides1[0] + j * p->strides1[1] + k * p->strides1[2];
        const int8_t *b = input2 + i * p->strides2[0] + j * p->strides2[1] + k * p->strides2[2];
        for (int32_t n = 0; n < p->shape[3]; ++n) {
          *output++ = add(p, a[n * p->strides1[3]], b[n * p->strides2[3]]);
        }
      }
    }
  }
}
