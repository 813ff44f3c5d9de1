/* Resizing of height and width by the nearest neighbour, int8 in, int8 out.
 *   output[b][y][x][c] = input[b][rows[y]][columns[x]][c]
 *   input    [batches][input_height][input_width][channels]    int8
 *   rows     [output_height]                                   int16, below input_height
 *   columns  [output_width]                                    int16, below input_width
 *   output   [batches][output_height][output_width][channels]  int8, quantized as the input
 * Bit-exact with: TFLM's RESIZE_NEAREST_NEIGHBOR reference kernel, whose float32 coordinates the compiler has computed.
 * Overflow: none possible.
 * Scratch: none. Input and output must not overlap. */
#include "resize_nearest_neighbor_s8.h"

#include <string.h>

void tflash_resize_nearest_neighbor_s8(const struct tflash_resize_nearest_neighbor_s8_params *p, const int8_t *input,
                                       int8_t *output) {
  const int32_t input_row = p->input_width * p->channels;
  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t y = 0; y < p->output_height; ++y) {
      const int8_t *row = input + p->rows[y] * input_row;
      for (int32_t x = 0; x < p->output_width; ++x) {
        memcpy(output, row + p->columns[x] * p->channels, (size_t)p->channels);
        output += p->channels;
      }
    }
    input += p->input_height * input_row;
  }
}
