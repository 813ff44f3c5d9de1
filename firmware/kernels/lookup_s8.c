/* Any function of one code, int8 in, int8 out: LOGISTIC, TANH, HARD_SWISH, swish, the sum with a constant, ..
 *   output = table[input + 128]
 *   input   [size] int8
 *   output  [size] int8
 * Bit-exact with: TFLM's kernels; aot/ops/lookup.py and aot/tables.py compute the tables as they do.
 * Overflow: none possible.
 * Scratch: none. The output may be the input.
 *
 * Four elements at a time: 17 instructions, of which eight load; some 25 cycles on a Cortex-M4. */
#include "lookup_s8.h"

void tflash_lookup_s8(const struct tflash_lookup_s8_params *p, const int8_t *input, int8_t *output) {
  const int8_t *const middle = p->table + 128;
  int32_t left = p->size; /* a copy: to the compiler, a code that is stored could be the parameter */
  for (; left >= 4; left -= 4) {
    const int8_t first = middle[input[0]];
    const int8_t second = middle[input[1]];
    const int8_t third = middle[input[2]];
    const int8_t fourth = middle[input[3]];
    output[0] = first;
    output[1] = second;
    output[2] = third;
    output[3] = fourth;
    input += 4;
    output += 4;
  }
  for (; left > 0; --left) {
    *output++ = middle[*input++];
  }
}
