/* Split along one dimension, of any type: a row of the input is a row of each output, one after the other.
 *   input    [rows][sum of row_bytes]
 *   outputs  outputs[i] is [rows][row_bytes[i]]
 * Bit-exact with: TFLM's SPLIT, SPLIT_V and UNPACK.
 * Overflow: none possible.
 * Scratch: none. Input and outputs must not overlap. */
#include "split.h"

#include <stddef.h>
#include <string.h>

void tflash_split(const struct tflash_split_params *p, const void *input, void *const *outputs) {
  const uint8_t *from = input;
  for (int32_t row = 0; row < p->rows; ++row) {
    for (int32_t i = 0; i < p->outputs; ++i) {
      const size_t bytes = (size_t)p->row_bytes[i];
      memcpy((uint8_t *)outputs[i] + (size_t)row * bytes, from, bytes);
      from += bytes;
    }
  }
}
