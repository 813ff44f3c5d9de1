/* conv_2d_s16 by SMLAD, two products at once, for filter_channels a multiple of 4.
 * Input, bias and output are as in conv_2d_s16.c.
 *   weights  [output_channels][filter_height][filter_width][filter_channels]  int8, of each four the third before the second
 * A word of four weights is widened by two instructions, and each half meets two codes that are neighbours: seven
 * instructions for four products, a load each for two codes and for four weights among them.
 * Bit-exact with: TFLM's CONV_2D reference kernel: one rounding, or two where the model's bias is int32.
 * Overflow: aot/requantization.py proves for each layer that the sums stay where requantization is defined.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "conv_2d_s16_dsp.h"

#include "dot_s16_dsp.h"

#define TFLASH_DOT tflash_dot_s16_dsp
#define TFLASH_BODY static void run
#include "conv_2d_s16_body.h"

void tflash_conv_2d_s16_dsp(const struct tflash_conv_2d_s16_dsp_params *p, const int16_t *input, int16_t *output) {
  run(&p->layer, input, output);
}
