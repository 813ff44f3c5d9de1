/* Mean or sum over neighbouring axes, int8 in, int8 out, for cores with SXTAB16; four elements or more lie behind them.
 *   output[o][i] = clamp(requant(sum_r input[o][r][i] + sum_offset) + output_offset)
 *   input   [outer][run][inner]  int8
 *   output  [outer][inner]       int8
 * Four elements at once; the last four overlap those before.
 * Bit-exact with: mean_s8.c.
 * Overflow: sums of up to 256 are int16; aot/ops/reduce.py proves the whole.
 * Scratch: none. Input and output must not overlap.
 *
 * Loads and cycles are those of average_pool_2d_s8_dsp.c: eight cycles for a position of four channels. */
#include "mean_s8_dsp.h"

#include "dsp.h"
#include "requant.h"

#define TOGETHER 256

void tflash_mean_s8_dsp(const struct tflash_mean_s8_dsp_params *p, const int8_t *input, int8_t *output) {
  for (int32_t o = 0; o < p->outer; ++o) {
    for (int32_t i = 0; i < p->inner; i += 4) {
      const int32_t first = i <= p->inner - 4 ? i : p->inner - 4;
      const int8_t *at = input + first;
      int32_t sums[4] = {p->sum_offset, p->sum_offset, p->sum_offset, p->sum_offset};
      for (int32_t left = p->run; left > 0; left -= TOGETHER) {
        const int32_t positions = left < TOGETHER ? left : TOGETHER;
        uint32_t pairs[2] = {0, 0};
        tflash_add_positions(at, positions, p->inner, pairs);
        tflash_widen_sums(pairs, sums);
        at += positions * p->inner;
      }
      for (int32_t k = 0; k < 4; ++k) {
        const int32_t code = tflash_requantize(sums[k], p->multiplier, p->shift) + p->output_offset;
        output[first + k] = (int8_t)tflash_clamp(code, INT8_MIN, INT8_MAX);
      }
    }
    input += p->run * p->inner;
    output += p->inner;
  }
}
