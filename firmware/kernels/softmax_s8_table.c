/* Softmax over the last dimension with a table of exponentials, int8 in, int8 out, for many outputs.
 *   e[d] = exps[max input - input[d]], 0 where the difference input[d] - max input is below `smallest`
 *   output[d] = round(256 * e[d] / sum e) - 128
 *   input   [rows][depth] int8
 *   exps    [1 - smallest] int32, Q0.31, as tflash_softmax_s8 computes them
 *   output  [rows][depth] int8, scale 1/256, zero point -128
 * Bit-exact with: softmax_s8.c.
 * Overflow: as in softmax_s8.c; aot/ops/softmax.py checks it.
 * Scratch: none. The output may be the input.
 *
 * Some 35 instructions an output instead of 400, for up to a kilobyte of table; on silicon the table wants to be in a
 * flash cache. */
#include "softmax_s8_table.h"

#define TFLASH_SOFTMAX_PARAMS struct tflash_softmax_s8_table_params

static int32_t exp_of_difference(const struct tflash_softmax_s8_table_params *p, int32_t difference) {
  return p->exps[-difference];
}

#include "softmax_s8_body.h"

void tflash_softmax_s8_table(const struct tflash_softmax_s8_table_params *params, const int8_t *input, int8_t *output) {
  const struct tflash_softmax_s8_table_params p = *params; /* to the compiler, a code that is stored could change it */
  for (int32_t row = 0; row < p.rows; ++row) {
    softmax_row(&p, input + row * p.depth, output + row * p.depth);
  }
}
