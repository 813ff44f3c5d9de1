/* Concatenation along one dimension, of any type: a row of the output is a row of each input, one after the other.
 *   inputs  inputs[i] is [rows][row_bytes[i]]; one tensor may be there several times
 *   output  [rows][sum of row_bytes]
 * Bit-exact with: TFLM's CONCATENATION and PACK.
 * Overflow: none possible.
 * Scratch: none. Inputs and output must not overlap. */
#include "concatenation.h"

#include <stddef.h>
#include <string.h>

void tflash_concatenation(const struct tflash_concatenation_params *p, const void *const *inputs, void *output) {
  uint8_t *to = output;
  for (int32_t row = 0; row < p->rows; ++row) {
    for (int32_t i = 0; i < p->inputs; ++i) {
      const size_t bytes = (size_t)p->row_bytes[i];
      memcpy(to, (const uint8_t *)inputs[i] + (size_t)row * bytes, bytes);
      to += bytes;
    }
  }
}
