/* Mean or sum over neighbouring axes for Helium (MVE), int8 in, int8 out.
 * The formula and shapes of mean_s8_dsp.c, eight elements at once.
 * Bit-exact with: mean_s8.c.
 * Overflow: sums of up to 256 are int16; aot/ops/reduce.py proves the whole.
 * Scratch: none. Input and output must not overlap. On silicon loads and sums overlap. */
#include "mean_s8_mve.h"

#include "mve.h"

void tflash_mean_s8_mve(const struct tflash_mean_s8_mve_params *p, const int8_t *input, int8_t *output) {
  const int32x4_t multiplier = vdupq_n_s32(p->multiplier);
  const int32x4_t shift = vdupq_n_s32(p->shift);
  for (int32_t o = 0; o < p->outer; ++o) {
    for (int32_t i = 0; i < p->inner; i += 8) {
      const mve_pred16_t lanes = vctp16q((uint32_t)(p->inner - i));
      struct tflash_mve_sums sums = {vdupq_n_s32(p->sum_offset), vdupq_n_s32(p->sum_offset)};
      const int8_t *at = input + i;
      for (int32_t left = p->run; left > 0; left -= TFLASH_MVE_SUMMED) {
        const int32_t positions = left < TFLASH_MVE_SUMMED ? left : TFLASH_MVE_SUMMED;
        sums = tflash_mve_widen(sums, tflash_mve_add_positions(vdupq_n_s16(0), at, positions, p->inner, lanes));
        at += positions * p->inner;
      }
      int16x8_t codes = vdupq_n_s16(0);
      codes = vqmovnbq_s32(codes, tflash_mve_requantize(sums.even, multiplier, shift));
      codes = vqmovntq_s32(codes, tflash_mve_requantize(sums.odd, multiplier, shift));
      codes = vqaddq_n_s16(codes, (int16_t)p->output_offset);
      codes = vminq_s16(vmaxq_s16(codes, vdupq_n_s16(INT8_MIN)), vdupq_n_s16(INT8_MAX));
      vstrbq_p_s16(output + i, codes, lanes);
    }
    input += p->run * p->inner;
    output += p->inner;
  }
}
