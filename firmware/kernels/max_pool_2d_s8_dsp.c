/* 2-D maximum pooling, int8 in, int8 out, of equal scale and zero point, for cores with SSUB8 and SEL; four channels or
 * more.
 * The formula and shapes of max_pool_2d_s8.c, four channels at once; the last four overlap those before.
 * Bit-exact with: max_pool_2d_s8.c.
 * Overflow: none possible.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far.
 *
 * A position of four channels takes a load, SSUB8, SEL and the loop; on a Cortex-M4 eight cycles, two of them the load's.
 * Words are unaligned where the channels are no multiple of four, which costs a cycle more. */
#include "max_pool_2d_s8_dsp.h"

#include "dsp.h"

static inline void pool(const struct tflash_max_pool_2d_s8_dsp_params *p, const int8_t *window, int32_t rows,
                        int32_t columns, int8_t *output) {
  for (int32_t c = 0; c < p->channels; c += 4) {
    const int32_t first = c <= p->channels - 4 ? c : p->channels - 4;
    const int8_t *row = window + first;
    uint32_t largest = tflash_four_codes(p->activation_min);
    for (int32_t fy = 0; fy < rows; ++fy) {
      const int8_t *at = row;
      for (int32_t fx = columns; fx > 0; --fx) {
        largest = tflash_larger_codes(tflash_load_word(at), largest);
        at += p->channels;
      }
      row += p->input_width * p->channels;
    }
    tflash_store_word(output + first, tflash_lesser_codes(largest, tflash_four_codes(p->activation_max)));
  }
}

#define TFLASH_PARAMS struct tflash_max_pool_2d_s8_dsp_params
#define TFLASH_WINDOW pool
#define TFLASH_BODY void tflash_max_pool_2d_s8_dsp
#include "pool_2d_windows_body.h"
