/* 2-D average pooling for Helium (MVE), int8 in, int8 out, of equal scale and zero point.
 * The formula and shapes of average_pool_2d_s8.c, eight channels at once; Helium does not divide, so each output takes
 * one scalar division, which is most of the time where windows are small. On silicon (Cortex-M55, two beats a cycle) a
 * load and the sum with the one before overlap.
 * Bit-exact with: average_pool_2d_s8.c.
 * Overflow: sums of up to 256 positions are int16, whole windows int32; aot/ops/pool.py says how many rows go together.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "average_pool_2d_s8_mve.h"

#include "mve.h"

/* The codes of one window: rows x columns positions of eight channels from `window` on. */
static inline struct tflash_mve_sums window_sums(const struct tflash_average_pool_2d_s8_mve_params *p,
                                                 const int8_t *window, int32_t rows, int32_t columns,
                                                 mve_pred16_t lanes) {
  struct tflash_mve_sums sums = {vdupq_n_s32(0), vdupq_n_s32(0)};
  for (int32_t y = 0; y < rows;) {
    const int32_t end = y + p->rows_together < rows ? y + p->rows_together : rows;
    int16x8_t together = vdupq_n_s16(0);
    for (; y < end; ++y) {
      together = tflash_mve_add_positions(together, window, columns, p->channels, lanes);
      window += p->input_width * p->channels;
    }
    sums = tflash_mve_widen(sums, together);
  }
  return sums;
}

static inline void pool(const struct tflash_average_pool_2d_s8_mve_params *p, const int8_t *window, int32_t rows,
                        int32_t columns, int8_t *output) {
  const int32_t count = rows * columns;
  for (int32_t c = 0; c < p->channels; c += 8) {
    const mve_pred16_t lanes = vctp16q((uint32_t)(p->channels - c));
    const struct tflash_mve_sums sums = window_sums(p, window + c, rows, columns, lanes);
    int16_t codes[8];
    int32_t even_odd[8];
    vst2q_s32(even_odd, ((int32x4x2_t){{sums.even, sums.odd}}));
    for (int32_t i = 0; i < 8; ++i) {
      const int32_t sum = even_odd[i];
      codes[i] = (int16_t)((sum > 0 ? sum + count / 2 : sum - count / 2) / count);
    }
    int16x8_t clamped = vmaxq_s16(vldrhq_s16(codes), vdupq_n_s16((int16_t)p->activation_min));
    clamped = vminq_s16(clamped, vdupq_n_s16((int16_t)p->activation_max));
    vstrbq_p_s16(output + c, clamped, lanes);
  }
}

#define TFLASH_PARAMS struct tflash_average_pool_2d_s8_mve_params
#define TFLASH_WINDOW pool
#define TFLASH_BODY void tflash_average_pool_2d_s8_mve
#include "pool_2d_windows_body.h"
