/* 2-D max pooling for Helium (MVE), int8 in, int8 out, of equal scale and zero point.
 * The formula and shapes of max_pool_2d_s8.c, sixteen channels at once. On silicon (Cortex-M55, two beats a cycle) a load
 * and the maximum with the one before overlap.
 * Bit-exact with: max_pool_2d_s8.c.
 * Overflow: none possible.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "max_pool_2d_s8_mve.h"

#include "mve.h"

static inline void pool(const struct tflash_max_pool_2d_s8_mve_params *p, const int8_t *window, int32_t rows,
                        int32_t columns, int8_t *output) {
  for (int32_t c = 0; c < p->channels; c += 16) {
    const mve_pred16_t lanes = vctp8q((uint32_t)(p->channels - c));
    int8x16_t largest = vdupq_n_s8((int8_t)p->activation_min);
    const int8_t *row = window + c;
    for (int32_t fy = 0; fy < rows; ++fy) {
      const int8_t *at = row;
      for (int32_t fx = columns; fx > 0; --fx) {
        largest = vmaxq_s8(largest, vldrbq_z_s8(at, lanes));
        at += p->channels;
      }
      row += p->input_width * p->channels;
    }
    vstrbq_p_s8(output + c, vminq_s8(largest, vdupq_n_s8((int8_t)p->activation_max)), lanes);
  }
}

#define TFLASH_PARAMS struct tflash_max_pool_2d_s8_mve_params
#define TFLASH_WINDOW pool
#define TFLASH_BODY void tflash_max_pool_2d_s8_mve
#include "pool_2d_windows_body.h"
