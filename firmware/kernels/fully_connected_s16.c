/* Fully connected layer, int16 in, int16 out, per-channel or per-tensor int8 weights. All zero points are 0.
 *   output[b][o] = clamp(requant(bias[o] + sum_d input[b][d] * weights[o][d]))
 *   input    [batches][depth]    int16
 *   weights  [outputs][depth]    int8   symmetric
 *   bias     [outputs]           int64  scale = input scale * weight scale[o]
 *   output   [batches][outputs]  int16
 * Bit-exact with: TFLM's FULLY_CONNECTED reference kernels: one rounding, or two where the model's bias is int32.
 * Overflow: aot/requantization.py proves for each layer that the sums stay where requantization is defined.
 * Scratch: none. Input and output must not overlap. */
#include "fully_connected_s16.h"

#include <stddef.h>

#include "dot_s16.h"

void tflash_fully_connected_s16(const struct tflash_fully_connected_s16_params *p, const int16_t *input,
                                int16_t *output) {
  for (int32_t b = 0; b < p->batches; ++b) {
    const int8_t *weights = p->weights;
    for (int32_t o = 0; o < p->outputs; ++o) {
      const int64_t sum = (p->bias != NULL ? p->bias[o] : 0) + tflash_dot_s16(input, weights, p->depth);
      const int32_t q = p->per_channel != 0 ? o : 0;
      const int32_t code = tflash_code_of_sum(sum, p->multipliers[q], p->shifts[q], p->rounds_twice);
      *output++ = (int16_t)tflash_clamp(code, p->activation_min, p->activation_max);
      weights += p->depth;
    }
    input += p->depth;
  }
}
