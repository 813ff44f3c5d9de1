/* Product of two tensors, int8 in, int8 out, each repeated along the dimensions where the other is longer, for cores with
 * SMMLAR.
 *   output = clamp(requant((2 * input1 + offset1) * (input2 + offset2)))
 *   input1, input2  int8, any shapes that broadcast to the output's; neighbouring dimensions are merged to four
 *   output          [shape] int8
 * Bit-exact with: TFLM's MUL (double rounding).
 * Overflow: none possible. Offset codes are within +-255, the doubled product below 2^17.
 * Scratch: none. The output may be an input that has the output's shape; else they must not overlap.
 *
 * 17 instructions an element, of which three multiply; 22 cycles on a Cortex-M4, with two for each load that is used at
 * once. */
#include "mul_s8_dsp.h"

#include "dsp.h"

/* One run of the innermost loop; a function of its own, so that everything is in registers. */
__attribute__((noinline)) static void multiply_run(const struct tflash_mul_s8_dsp_params *p, const int8_t *a,
                                                   const int8_t *b, int8_t *output) {
  const int32_t offset1 = p->offset1;
  const int32_t offset2 = p->offset2;
  const int32_t multiplier = p->multiplier;
  const int32_t code = p->code;
  const int32_t rounding = (int32_t)((uint32_t)(int32_t)p->doubled_zero << code);
  const int32_t step1 = p->strides1[3];
  const int32_t step2 = p->strides2[3];
  for (const int8_t *const end = output + p->shape[3]; output < end; ++output) {
    const int32_t twice = (2 * *a + offset1) * (*b + offset2);
    *output = (int8_t)tflash_ssat8_half(tflash_smmlar(twice, multiplier, rounding + (twice >> 31)) >> code);
    a += step1;
    b += step2;
  }
}

void tflash_mul_s8_dsp(const struct tflash_mul_s8_dsp_params *p, const int8_t *input1, const int8_t *input2,
                       int8_t *output) {
  int8_t *out = output;
  for (int32_t i = 0; i < p->shape[0]; ++i) {
    for (int32_t j = 0; j < p->shape[1]; ++j) {
      for (int32_t k = 0; k < p->shape[2]; ++k) {
        const int8_t *a = input1 + i * p->strides1[0] + j * p->strides1[1] + k * p->strides1[2];
        const int8_t *b = input2 + i * p->strides2[0] + j * p->strides2[1] + k * p->strides2[2];
        multiply_run(p, a, b, out);
        out += p->shape[3];
      }
    }
  }
  tflash_clamp_codes(output, (int32_t)(out - output), p->activation_min, p->activation_max);
}
