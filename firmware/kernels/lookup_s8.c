/* Any function of one code, int8 in, int8 out: LOGISTIC, TANH, LEAKY_RELU, HARD_SWISH, ELU, ABS, RSQRT.
 *   output = table[input + 128]
 *   input   [size] int8
 *   output  [size] int8
 * Bit-exact with: TFLM's kernels; aot/ops/lookup.py computes the tables as they do.
 * Overflow: none possible.
 * Scratch: none. The output may be the input. */
#include "lookup_s8.h"

void tflash_lookup_s8(const struct tflash_lookup_s8_params *p, const int8_t *input, int8_t *output) {
  const int8_t *const middle = p->table + 128;
  for (int32_t i = 0; i < p->size; ++i) {
    output[i] = middle[input[i]];
  }
}
