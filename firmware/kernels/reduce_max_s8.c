/* Maximum over any axes, int8.
 *   output[k] = max_r input[k, r]
 *   k runs over the axes that are kept and r over the others, merged as those of mean_s8.c.
 *   input   int8, any shape
 *   output  [outputs] int8, in the order of the kept axes
 * Bit-exact with: TFLM's REDUCE_MAX.
 * Overflow: none possible.
 * Scratch: none. Input and output must not overlap. */
#include "reduce_max_s8.h"

#include "strides.h"

void tflash_reduce_max_s8(const struct tflash_reduce_max_s8_params *p, const int8_t *input, int8_t *output) {
  for (int32_t k = 0; k < p->outputs; ++k) {
    const int8_t *kept = input + tflash_offset_of(k, p->kept_sizes, p->kept_strides);
    int8_t largest = INT8_MIN;
    for (int32_t r = 0; r < p->reductions; ++r) {
      const int8_t *run = kept + tflash_offset_of(r, p->reduced_sizes, p->reduced_strides);
      for (int32_t i = 0; i < p->run; ++i) {
        const int8_t value = run[i * p->run_stride];
        largest = value > largest ? value : largest;
      }
    }
    output[k] = largest;
  }
}
