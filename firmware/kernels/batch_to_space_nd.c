/* An image from a batch of its strided parts, of any type.
 *   output[b, y, x] = input[(y + top) % block_height, (x + left) % block_width, b,
 *                           (y + top) / block_height, (x + left) / block_width]
 *   input   [block_height][block_width][batches][input_height][input_width][pixel_bytes]
 *   output  [batches][height][width][pixel_bytes]
 * Bit-exact with: TFLM's BATCH_TO_SPACE_ND.
 * Overflow: none possible.
 * Scratch: none. Input and output must not overlap. */
#include "batch_to_space_nd.h"

#include <stddef.h>
#include <string.h>

void tflash_batch_to_space_nd(const struct tflash_batch_to_space_nd_params *p, const void *input, void *output) {
  const uint8_t *const parts = input;
  uint8_t *to = output;
  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t y = p->top; y < p->top + p->height; ++y) {
      for (int32_t x = p->left; x < p->left + p->width; ++x) {
        const int32_t part = y % p->block_height * p->block_width + x % p->block_width;
        const int32_t row = (part * p->batches + b) * p->input_height + y / p->block_height;
        memcpy(to, parts + (row * p->input_width + x / p->block_width) * p->pixel_bytes, (size_t)p->pixel_bytes);
        to += p->pixel_bytes;
      }
    }
  }
}
