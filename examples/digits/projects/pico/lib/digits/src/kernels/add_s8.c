/* Sum or difference of two tensors, int8 in, int8 out, each repeated along the dimensions where the other is longer.
 *   output = clamp(requant(+-(coarse - its zero point) * 2^19 +- requant((fine - its zero point) * 2^20)) + output_offset)
 *   coarse  int8, the input with the larger scale: its multiplier in TFLM's ADD and SUB is 1/2, which is exact
 *   fine    int8; any shapes that broadcast to the output's; neighbouring dimensions are merged to four
 *   output  [shape] int8
 * Bit-exact with: TFLM's ADD and SUB (double rounding).
 * Overflow: none possible. Offset codes are within +-255, times 2^20 at most; the sum is below 2^28.
 * Scratch: none. The output may be an input that has the output's shape; else they must not overlap.
 *
 * The code of the finer input has 9 bits with its offset, so that its high product needs no 64 bits: with a multiplier of
 * high * 2^11 + low, round(c * 2^20 * multiplier / 2^31) = c * high + ((c * low + 2^10) >> 11). */
#include "add_s8.h"

#include "plain_loops.h"

#include "requant.h"

/* One run of the innermost loop. */
__attribute__((noinline)) static void add_run(const struct tflash_add_s8_params *p, const int8_t *coarse,
                                              const int8_t *fine, int8_t *output) {
  const int32_t coarse_factor = p->coarse_factor;
  const int32_t coarse_offset = p->coarse_offset;
  const int32_t fine_high = p->fine_high;
  const int32_t high_offset = p->fine_offset * fine_high;
  const int32_t fine_low = p->fine_low;
  const int32_t low_offset = p->fine_offset * fine_low + (INT32_C(1) << 10);
  const int32_t fine_right = p->fine_right;
  const int32_t fine_factor = p->fine_factor;
  const int32_t multiplier = p->multiplier;
  const int32_t shift = p->shift;
  const int32_t output_offset = p->output_offset;
  const int32_t low = p->activation_min;
  const int32_t high = p->activation_max;
  const int32_t coarse_step = p->coarse_strides[3];
  const int32_t fine_step = p->fine_strides[3];
  for (const int8_t *const end = output + p->shape[3]; output < end; ++output) {
    const int32_t product = *fine * fine_high + high_offset + ((*fine * fine_low + low_offset) >> 11);
    const int32_t scaled = (((product + (product >> 31)) >> fine_right) + 1) >> 1;
    const int32_t sum = *coarse * coarse_factor + coarse_offset + scaled * fine_factor;
    const int32_t code = tflash_requantize(sum, multiplier, shift) + output_offset;
    *output = (int8_t)tflash_clamp(code, low, high);
    coarse += coarse_step;
    fine += fine_step;
  }
}

void tflash_add_s8(const struct tflash_add_s8_params *p, const int8_t *coarse, const int8_t *fine, int8_t *output) {
  const int32_t *const m = p->coarse_strides;
  const int32_t *const n = p->fine_strides;
  for (int32_t i = 0; i < p->shape[0]; ++i) {
    for (int32_t j = 0; j < p->shape[1]; ++j) {
      for (int32_t k = 0; k < p->shape[2]; ++k) {
        add_run(p, coarse + i * m[0] + j * m[1] + k * m[2], fine + i * n[0] + j * n[1] + k * n[2], output);
        output += p->shape[3];
      }
    }
  }
}
