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

/* An output takes 400 instructions on any core: of classifiers, which have 2 to 12 outputs, a thousandth of the time. Small
 * is better here; softmax_s8_table.c is for many outputs. */
#include "small_code.h"

#include "fixed_exp.h"
#include "requant.h"

#define TFLASH_SOFTMAX_PARAMS struct tflash_softmax_s8_params

static int32_t exp_of_difference(const struct tflash_softmax_s8_params *p, int32_t difference) {
  const int32_t x = tflash_high_product(difference * (INT32_C(1) << p->shift), p->multiplier);
  return tflash_exp_negative(x, 5);
}

#include "softmax_s8_body.h"

void tflash_softmax_s8(const struct tflash_softmax_s8_params *p, const int8_t *input, int8_t *output) {
  for (int32_t row = 0; row < p->rows; ++row) {
    softmax_row(p, input + row * p->depth, output + row * p->depth);
  }
}
