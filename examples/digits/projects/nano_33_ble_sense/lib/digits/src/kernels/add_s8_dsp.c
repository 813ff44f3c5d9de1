/* Sum or difference of two tensors of one shape, int8 in, int8 out, for cores with SMMLAR.
 *   output = clamp(requant(+-(coarse - its zero point) * 2^19 +- requant((fine - its zero point) * 2^20)))
 *   coarse  [count] int8, the input with the larger scale: its multiplier in TFLM's ADD and SUB is 1/2, which is exact
 *   fine    [count] int8
 *   output  [count] int8
 * Bit-exact with: TFLM's ADD and SUB (double rounding).
 * Overflow: none possible. Offset codes are within +-255, shifted left by at most 22; the sum, doubled, is below 2^29.
 * Scratch: none. The output may be one of the inputs; else they must not overlap.
 *
 * About 20 instructions an element, of which four multiply, in a cycle each on a Cortex-M4 and two on a Cortex-M7, where
 * other work goes between; no loads but the two codes. */
#include "add_s8_dsp.h"

#include "dsp.h"

void tflash_add_s8_dsp(const struct tflash_add_s8_dsp_params *p, const int8_t *coarse, const int8_t *fine,
                       int8_t *output) {
  const int32_t fine_multiplier = p->fine_multiplier;
  const int32_t fine_offset = p->fine_offset;
  const int32_t fine_left = p->fine_left;
  const int32_t fine_right = p->fine_right;
  const int32_t fine_rounding = (int32_t)(UINT32_C(1) << (fine_right - 1));
  const int32_t multiplier = p->multiplier;
  const int32_t offset = p->offset;
  const int32_t coarse_factor = p->coarse_factor;
  const int32_t fine_factor = p->fine_factor;
  const int32_t code = p->code;
  const int32_t rounding = (int32_t)((uint32_t)(int32_t)p->doubled_zero << code);
  const int8_t *const end = output + p->count;
  for (int8_t *out = output; out < end; ++out) {
    const int32_t x = (int32_t)((uint32_t)(int32_t)*fine++ << fine_left) + fine_offset;
    const int32_t y = tflash_smmlar(x, fine_multiplier, fine_rounding + (x >> 31)) >> fine_right;
    const int32_t twice = offset + *coarse++ * coarse_factor + y * fine_factor;
    *out = (int8_t)tflash_ssat8_half(tflash_smmlar(twice, multiplier, rounding + (twice >> 31)) >> code);
  }
  tflash_clamp_codes(output, p->count, p->activation_min, p->activation_max);
}
