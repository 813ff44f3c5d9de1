/* 2-D average pooling, int8 in, int8 out, of equal scale and zero point, for cores with SXTAB16; four channels or more.
 * The formula and shapes of average_pool_2d_s8.c, four channels at once; the last four overlap those before.
 * Bit-exact with: average_pool_2d_s8.c.
 * Overflow: sums of up to 256 positions are int16, whole windows int32; aot/ops/pool.py says how many rows go together.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far.
 *
 * A position of four channels takes a load, two SXTAB16 and the loop; on a Cortex-M4 eight cycles, two of them the
 * load's. Words are unaligned where the channels are no multiple of four, which costs a cycle more. Each output takes a
 * division, of 2 to 12 cycles. */
#include "average_pool_2d_s8_dsp.h"

#include "dsp.h"
#include "requant.h"

/* Four channels of a window of rows x columns positions. */
static void average(const struct tflash_average_pool_2d_s8_dsp_params *p, const int8_t *window, int32_t rows,
                    int32_t columns, int8_t *output) {
  const int32_t count = rows * columns;
  int32_t sums[4] = {0, 0, 0, 0};
  for (int32_t y = 0; y < rows;) {
    const int32_t end = y + p->rows_together < rows ? y + p->rows_together : rows;
    uint32_t pairs[2] = {0, 0};
    for (; y < end; ++y) {
      tflash_add_positions(window, columns, p->channels, pairs);
      window += p->input_width * p->channels;
    }
    tflash_widen_sums(pairs, sums);
  }
  for (int32_t i = 0; i < 4; ++i) {
    const int32_t rounding = sums[i] > 0 ? count / 2 : -(count / 2);
    output[i] = (int8_t)tflash_clamp((sums[i] + rounding) / count, p->activation_min, p->activation_max);
  }
}

static inline void pool(const struct tflash_average_pool_2d_s8_dsp_params *p, const int8_t *window, int32_t rows,
                        int32_t columns, int8_t *output) {
  for (int32_t c = 0; c < p->channels; c += 4) {
    const int32_t first = c <= p->channels - 4 ? c : p->channels - 4;
    average(p, window + first, rows, columns, output + first);
  }
}

#define TFLASH_PARAMS struct tflash_average_pool_2d_s8_dsp_params
#define TFLASH_WINDOW pool
#define TFLASH_BODY void tflash_average_pool_2d_s8_dsp
#include "pool_2d_windows_body.h"
