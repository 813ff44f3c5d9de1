/* Singular value decomposition filter, int8 in, int8 out, with a state that remembers `memory` inferences.
 *   feature[b][u][k] = saturate(requant(sum_i (input[b][i] + input_offset) * features[u][k][i])) + state_zero
 *   state[b][u][k]   = its last memory - 1 values, then feature[b][u][k]
 *   output[b][u]     = saturate(requant(bias[u] + sum_k sum_m (state[b][u][k][m] - state_zero) * times[u][k][m])
 *                               + output_offset)
 *   input    [batches][inputs]               int8
 *   state    [batches][units][rank][memory]  int8 or int16, as `times`; read and written
 *   output   [batches][units]                int8
 * Bit-exact with: TFLM's SVDF reference kernels, with int8 as with int16 state (double rounding). They do not apply the
 * fused activation, nor does this.
 * Overflow: aot/ops/svdf.py proves that the sum over the inputs fits int32. The sum over the memory wraps around where
 *   saturated states meet large weights, as TFLM's does; aot/ops/svdf.py says where it can.
 * Scratch: none. Input and output must not overlap. */
#include "svdf_s8.h"

#include <stddef.h>
#include <string.h>

#include "requant.h"

/* The sum over one filter's memory, once `feature` has been put at its end. */
static uint32_t remember_s8(const struct tflash_svdf_s8_params *p, int8_t *state, const int8_t *times,
                            int32_t feature) {
  memmove(state, state + 1, (size_t)p->memory - 1u);
  state[p->memory - 1] = (int8_t)(uint8_t)(tflash_clamp(feature, INT8_MIN, INT8_MAX) + p->state_zero);
  uint32_t sum = 0;
  for (int32_t m = 0; m < p->memory; ++m) {
    sum += (uint32_t)((state[m] - p->state_zero) * times[m]);
  }
  return sum;
}

static uint32_t remember_s16(const struct tflash_svdf_s8_params *p, int16_t *state, const int16_t *times,
                             int32_t feature) {
  memmove(state, state + 1, sizeof(int16_t) * ((size_t)p->memory - 1u));
  state[p->memory - 1] = (int16_t)tflash_clamp(feature, INT16_MIN, INT16_MAX);
  uint32_t sum = 0;
  for (int32_t m = 0; m < p->memory; ++m) {
    sum += (uint32_t)(state[m] * times[m]);
  }
  return sum;
}

void tflash_svdf_s8(const struct tflash_svdf_s8_params *p, const int8_t *input, void *state, int8_t *output) {
  int32_t filter = 0; /* of all batches */
  for (int32_t b = 0; b < p->batches; ++b) {
    const int8_t *features = p->features;
    int32_t time = 0;
    for (int32_t u = 0; u < p->units; ++u) {
      uint32_t sum = (uint32_t)p->bias[u];
      for (int32_t k = 0; k < p->rank; ++k) {
        int32_t acc = 0;
        for (int32_t i = 0; i < p->inputs; ++i) {
          acc += features[i] * (input[i] + p->input_offset);
        }
        features += p->inputs;
        const int32_t feature = tflash_requantize(acc, p->feature_multiplier, p->feature_shift);
        if (p->times_s16 != NULL) {
          sum += remember_s16(p, (int16_t *)state + filter, p->times_s16 + time, feature);
        } else {
          sum += remember_s8(p, (int8_t *)state + filter, p->times_s8 + time, feature);
        }
        filter += p->memory;
        time += p->memory;
      }
      const int32_t result = tflash_requantize((int32_t)sum, p->output_multiplier, p->output_shift);
      *output++ = (int8_t)tflash_clamp(result + p->output_offset, INT8_MIN, INT8_MAX);
    }
    input += p->inputs;
  }
}
