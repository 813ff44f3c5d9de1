/* Fully connected layer, int8 in, int8 out, per-channel or per-tensor weights.
 *   output[b][o] = clamp(requant(bias[o] + sum_d (input[b][d] + input_offset) * weights[o][d]) + output_offset)
 *   input    [batches][depth]    int8   real = scale * (input + input_offset)
 *   weights  [outputs][depth]    int8   symmetric
 *   bias     [outputs]           int32  scale = input scale * weight scale[o]
 *   output   [batches][outputs]  int8
 * Bit-exact with: TFLM's FULLY_CONNECTED reference kernels (double rounding).
 * Overflow: aot/requantization.py proves for each layer that no partial sum leaves int32.
 * Scratch: none. Input and output must not overlap. */
#include "fully_connected_s8.h"

#include <stddef.h>

#include "requant.h"

void tflash_fully_connected_s8(const struct tflash_fully_connected_s8_params *p, const int8_t *input,
                               int8_t *output) {
  for (int32_t b = 0; b < p->batches; ++b) {
    const int8_t *w = p->weights;
    for (int32_t o = 0; o < p->outputs; ++o) {
      int32_t acc = p->bias != NULL ? p->bias[o] : 0;
      for (int32_t d = 0; d < p->depth; ++d) {
        acc += w[d] * (input[d] + p->input_offset);
      }
      w += p->depth;
      const int32_t q = p->per_channel != 0 ? o : 0;
      acc = tflash_requantize(acc, p->multipliers[q], p->shifts[q]) + p->output_offset;
      *output++ = (int8_t)tflash_clamp(acc, p->activation_min, p->activation_max);
    }
    input += p->depth;
  }
}
