/* Product of two tensors, int8 in, int8 out, each repeated along the dimensions where the other is longer.
 *   output = clamp(requant((input1 + offset1) * (input2 + offset2)) + output_offset)
 *   input1, input2  int8, any shapes that broadcast to the output's; neighbouring dimensions are merged to four
 *   output          [shape] int8
 * Bit-exact with: TFLM's MUL (double rounding).
 * Overflow: aot/ops/elementwise.py proves it for each layer.
 * Scratch: none. The output may be an input that has the output's shape; else they must not overlap. */
#include "mul_s8.h"

#include "plain_loops.h"

#include "requant.h"

/* One run of the innermost loop. */
__attribute__((noinline)) static void multiply_run(const struct tflash_mul_s8_params *p, const int8_t *a,
                                                   const int8_t *b, int8_t *output) {
  const int32_t offset1 = p->offset1;
  const int32_t offset2 = p->offset2;
  const int32_t multiplier = p->multiplier;
  const int32_t shift = p->shift;
  const int32_t output_offset = p->output_offset;
  const int32_t low = p->activation_min;
  const int32_t high = p->activation_max;
  const int32_t step1 = p->strides1[3];
  const int32_t step2 = p->strides2[3];
  for (const int8_t *const end = output + p->shape[3]; output < end; ++output) {
    const int32_t product = (*a + offset1) * (*b + offset2);
    const int32_t code = tflash_requantize(product, multiplier, shift) + output_offset;
    *output = (int8_t)tflash_clamp(code, low, high);
    a += step1;
    b += step2;
  }
}

void tflash_mul_s8(const struct tflash_mul_s8_params *p, const int8_t *input1, const int8_t *input2, int8_t *output) {
  for (int32_t i = 0; i < p->shape[0]; ++i) {
    for (int32_t j = 0; j < p->shape[1]; ++j) {
      for (int32_t k = 0; k < p->shape[2]; ++k) {
        const int8_t *a = input1 + i * p->strides1[0] + j * p->strides1[1] + k * p->strides1[2];
        const int8_t *b = input2 + i * p->strides2[0] + j * p->strides2[1] + k * p->strides2[2];
        multiply_run(p, a, b, output);
        output += p->shape[3];
      }
    }
  }
}
