/* Softmax over the last dimension, int8 in, int8 out.
 *   e[d] = exp(beta * input scale * (input[d] - max input)), 0 where the difference is below `smallest`
 *   output[d] = round(256 * e[d] / sum e) - 128
 *   input   [rows][depth] int8
 *   output  [rows][depth] int8, scale 1/256, zero point -128
 * Bit-exact with: TFLM's SOFTMAX. TFLM stops the program where a sum of exponentials is 512 or more; here each output
 * of such a row, which is at most 1/512, is rounded to 0.
 * Overflow: the sum is Q12.19 and each term at most 1, so depth <= 4095 is safe; aot/ops/softmax.py checks it.
 * Scratch: none. The output may be the input. */
#include "softmax_s8.h"

/* An output takes 400 instructions on any core: of the published networks, which have 2 to 12 outputs, a thousandth of the
 * time. A kernel of its own for DSP or Helium, or unrolling, would cost a kilobyte: small is better. */
#include "small_code.h"

#include "fixed_exp.h"
#include "requant.h"

static int32_t exp_of_difference(const struct tflash_softmax_s8_params *p, int32_t difference) {
  const int32_t x = tflash_high_product(difference * (INT32_C(1) << p->shift), p->multiplier);
  return tflash_exp_negative(x, 5);
}

static void softmax(const struct tflash_softmax_s8_params *p, const int8_t *input, int8_t *output) {
  int32_t max = INT8_MIN;
  for (int32_t d = 0; d < p->depth; ++d) {
    max = input[d] > max ? input[d] : max;
  }
  int32_t sum = 0;
  for (int32_t d = 0; d < p->depth; ++d) {
    if (input[d] - max >= p->smallest) {
      sum += tflash_rounding_shift(exp_of_difference(p, input[d] - max), 12);
    }
  }
  /* sum = (1 + x) * 2^bits with x in [0, 1) */
  int32_t bits = 12;
  uint32_t mantissa = (uint32_t)sum;
  while ((mantissa & (UINT32_C(1) << 31)) == 0) {
    mantissa <<= 1;
    --bits;
  }
  const int32_t reciprocal = tflash_reciprocal_of_one_plus((int32_t)(mantissa - (UINT32_C(1) << 31)));
  const int32_t exponent = bits + 23;
  for (int32_t d = 0; d < p->depth; ++d) {
    int32_t result = 0;
    if (input[d] - max >= p->smallest && exponent <= 31) {
      const int32_t e = exp_of_difference(p, input[d] - max);
      result = tflash_rounding_shift(tflash_high_product(reciprocal, e), exponent);
    }
    output[d] = (int8_t)tflash_clamp(result + INT8_MIN, INT8_MIN, INT8_MAX);
  }
}

void tflash_softmax_s8(const struct tflash_softmax_s8_params *p, const int8_t *input, int8_t *output) {
  for (int32_t row = 0; row < p->rows; ++row) {
    softmax(p, input + row * p->depth, output + row * p->depth);
  }
}
