/* The larger or the smaller of two tensors' codes, int8, each repeated along the dimensions where the other is longer.
 *   output = max(input1, input2) or min(input1, input2)
 *   input1, input2  int8, any shapes that broadcast to the output's; neighbouring dimensions are merged to four
 *   output          [shape] int8
 * Bit-exact with: TFLM's MAXIMUM and MINIMUM, which compare codes whatever their scales are.
 * Overflow: none possible.
 * Scratch: none. The output may be an input that has the output's shape; else they must not overlap. */
#include "maximum_minimum_s8.h"

static int8_t choose(const struct tflash_maximum_minimum_s8_params *p, int8_t a, int8_t b) {
  return (p->maximum != 0) == (a > b) ? a : b;
}

void tflash_maximum_minimum_s8(const struct tflash_maximum_minimum_s8_params *p, const int8_t *input1,
    const int8_t *input2, int8_t *output) {
  for (int32_t i = 0; i < p->shape[0]; ++i) {
    for (int32_t j = 0; j < p->shape[1]; ++j) {
      for (int32_t k = 0; k < p->shape[2]; ++k) {
        const int8_t *a = input1 + i * p->strides1[0] + j * p->strides1[1] + k * p->strides1[2];
        const int8_t *b = input2 + i * p->strides2[0] + j * p->strides2[1] + k * p->strides2[2];
        for (int32_t n = 0; n < p->shape[3]; ++n) {
          *output++ = choose(p, a[n * p->strides1[3]], b[n * p->strides2[3]]);
        }
      }
    }
  }
}
