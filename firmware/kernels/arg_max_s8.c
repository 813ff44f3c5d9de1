/* Index of the largest value along an axis, int8 in, int32 out; of several that are equal the first.
 *   output[r, s] = the smallest i with input[r, i, s] = max_j input[r, j, s]
 *   input   [rows][size][stride] int8
 *   output  [rows][stride] int32
 * Bit-exact with: TFLM's ARG_MAX.
 * Overflow: none possible.
 * Scratch: none. Input and output must not overlap. */
#include "arg_max_s8.h"

void tflash_arg_max_s8(const struct tflash_arg_max_s8_params *p, const int8_t *input, int32_t *output) {
  for (int32_t r = 0; r < p->rows; ++r) {
    for (int32_t s = 0; s < p->stride; ++s) {
      int32_t largest = 0;
      for (int32_t i = 1; i < p->size; ++i) {
        if (input[i * p->stride + s] > input[largest * p->stride + s]) {
          largest = i;
        }
      }
      *output++ = largest;
    }
    input += p->size * p->stride;
  }
}
