/* Copy with any strides, of any type: TRANSPOSE, SLICE, STRIDED_SLICE, DEPTH_TO_SPACE, SPACE_TO_DEPTH.
 *   output[i, j, k, l, n] = input[first + i * strides[0] + .. + n * strides[4]], in runs of bytes
 *   input   any shape
 *   output  [sizes][run_bytes]
 * Neighbouring dimensions that stay neighbours are one loop, and the innermost of them the run.
 * Bit-exact with: TFLM's kernels of these ops; aot/ops/strided_copy.py computes the loops.
 * Overflow: none possible.
 * Scratch: none. Input and output must not overlap. */
#include "strided_copy.h"

#include <stddef.h>
#include <string.h>

/* A row of runs; returns where the next one goes. */
static uint8_t *copy_row(const struct tflash_strided_copy_params *p, const uint8_t *from, uint8_t *to) {
  const int32_t stride = p->strides[4];
  if (p->run_bytes == 1) {
    for (int32_t n = 0; n < p->sizes[4]; ++n) {
      *to++ = from[n * stride];
    }
    return to;
  }
  for (int32_t n = 0; n < p->sizes[4]; ++n) {
    memcpy(to, from + n * stride, (size_t)p->run_bytes);
    to += p->run_bytes;
  }
  return to;
}

void tflash_strided_copy(const struct tflash_strided_copy_params *p, const void *input, void *output) {
  const uint8_t *const first = (const uint8_t *)input + p->first_byte;
  uint8_t *to = output;
  for (int32_t i = 0; i < p->sizes[0]; ++i) {
    for (int32_t j = 0; j < p->sizes[1]; ++j) {
      for (int32_t k = 0; k < p->sizes[2]; ++k) {
        for (int32_t l = 0; l < p->sizes[3]; ++l) {
          const int32_t offset = i * p->strides[0] + j * p->strides[1] + k * p->strides[2] + l * p->strides[3];
          to = copy_row(p, first + offset, to);
        }
      }
    }
  }
}
