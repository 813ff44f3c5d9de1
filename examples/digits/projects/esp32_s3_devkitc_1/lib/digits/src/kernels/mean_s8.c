/* Mean or sum over any axes, int8 in, int8 out.
 *   output[k] = clamp(requant(sum_r input[k, r] + sum_offset) + output_offset)
 *   k runs over the axes that are kept and r over the others; a mean's division is part of the multiplier.
 *   Neighbouring axes of one kind are merged, so that at most four of each kind remain; the innermost of the
 *   others is the run.
 *   input   int8, any shape
 *   output  [outputs] int8, in the order of the kept axes
 * Bit-exact with: TFLM's MEAN and SUM (double rounding).
 * Overflow: aot/ops/reduce.py proves it for each layer.
 * Scratch: none. Input and output must not overlap. */
#include "mean_s8.h"

#include "requant.h"
#include "strides.h"

void tflash_mean_s8(const struct tflash_mean_s8_params *p, const int8_t *input, int8_t *output) {
  for (int32_t k = 0; k < p->outputs; ++k) {
    const int8_t *kept = input + tflash_offset_of(k, p->kept_sizes, p->kept_strides);
    int32_t acc = p->sum_offset;
    for (int32_t r = 0; r < p->reductions; ++r) {
      const int8_t *run = kept + tflash_offset_of(r, p->reduced_sizes, p->reduced_strides);
      for (int32_t i = 0; i < p->run; ++i) {
        acc += run[i * p->run_stride];
      }
    }
    acc = tflash_requantize(acc, p->multiplier, p->shift) + p->output_offset;
    output[k] = (int8_t)tflash_clamp(acc, INT8_MIN, INT8_MAX);
  }
}
