/* Entries of a tensor by their indices, of any type.
 *   output[b, r, i] = input[b, r, positions[b, i]]
 *   input      [batches][rows][entries][run_bytes]
 *   positions  [batches][positions] int32; below 0 is taken as 0, beyond the last entry as the last
 *   output     [batches][rows][positions][run_bytes]
 * Bit-exact with: TFLM's GATHER, for positions that exist; for others TFLM reads what lies beside the tensor.
 * Overflow: none possible.
 * Scratch: none. Inputs and output must not overlap. */
#include "gather.h"

#include <stddef.h>
#include <string.h>

void tflash_gather(const struct tflash_gather_params *p, const void *input, const int32_t *positions, void *output) {
  const uint8_t *row = input;
  uint8_t *to = output;
  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t r = 0; r < p->rows; ++r) {
      for (int32_t i = 0; i < p->positions; ++i) {
        const int32_t wanted = positions[i] < 0 ? 0 : positions[i];
        const int32_t entry = wanted < p->entries ? wanted : p->entries - 1;
        memcpy(to, row + entry * p->run_bytes, (size_t)p->run_bytes);
        to += p->run_bytes;
      }
      row += p->entries * p->run_bytes;
    }
    positions += p->positions;
  }
}
