/* Transposed 2-D convolution, int8 in, int8 out; any stride, padding before and after of any size.
 *   output[b][y][x][o] = clamp(requant(bias[o] + sum (input[b][y'][x'][i] + input_offset) * weights[o][fy][fx][i])
 *                              + output_offset)
 *   over all taps with y' * stride_height + fy = y + pad_top, x' likewise, and y', x' inside the input
 *   input    [batches][input_height][input_width][input_channels]              int8
 *   weights  [output_channels][filter_height][filter_width][input_channels]    int8, symmetric
 *   bias     [output_channels]                                                 int32
 *   output   [batches][output_height][output_width][output_channels]           int8
 * Bit-exact with: TFLM's TRANSPOSE_CONV reference kernel (double rounding). That one scatters into an int32 copy of the
 * output; here each output gathers its taps, so that none is needed.
 * Overflow: aot/requantization.py proves for each layer that no partial sum leaves int32.
 * Scratch: none. Input and output must not overlap. */
#include "transpose_conv_s8.h"

#include <stddef.h>

#include "requant.h"

/* The taps of one output position: first, first + stride, .. below end; the first one reads input position `input`, each
 * further one the position before. */
struct taps {
  int32_t first;
  int32_t end;
  int32_t input;
};

static struct taps taps_of(int32_t position, int32_t stride, int32_t filter, int32_t size) {
  struct taps t;
  t.first = position % stride;
  t.input = position / stride;
  if (t.input >= size) {
    t.first += (t.input - (size - 1)) * stride;
    t.input = size - 1;
  }
  t.end = filter <= position ? filter : position + 1;
  return t;
}

void tflash_transpose_conv_s8(const struct tflash_transpose_conv_s8_params *p, const int8_t *input, int8_t *output) {
  const int32_t depth = p->input_channels;
  const int32_t input_row = p->input_width * depth;
  const int32_t filter_row = p->filter_width * depth;
  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t y = 0; y < p->output_height; ++y) {
      const struct taps ty = taps_of(y + p->pad_top, p->stride_height, p->filter_height, p->input_height);
      for (int32_t x = 0; x < p->output_width; ++x) {
        const struct taps tx = taps_of(x + p->pad_left, p->stride_width, p->filter_width, p->input_width);
        const int8_t *filter = p->weights;
        for (int32_t o = 0; o < p->output_channels; ++o) {
          int32_t acc = p->bias != NULL ? p->bias[o] : 0;
          int32_t in_y = ty.input;
          for (int32_t fy = ty.first; fy < ty.end; fy += p->stride_height) {
            int32_t in_x = tx.input;
            for (int32_t fx = tx.first; fx < tx.end; fx += p->stride_width) {
              const int8_t *in = input + in_y * input_row + in_x * depth;
              const int8_t *w = filter + fy * filter_row + fx * depth;
              for (int32_t i = 0; i < depth; ++i) {
                acc += w[i] * (in[i] + p->input_offset);
              }
              --in_x;
            }
            --in_y;
          }
          filter += p->filter_height * filter_row;
          const int32_t q = p->per_channel != 0 ? o : 0;
          acc = tflash_requantize(acc, p->multipliers[q], p->shifts[q]) + p->output_offset;
          *output++ = (int8_t)tflash_clamp(acc, p->activation_min, p->activation_max);
        }
      }
    }
    input += p->input_height * input_row;
  }
}
