/* depthwise_conv_2d_s8 with int4 weights, which stay packed in flash.
 * Input and output are as in depthwise_conv_2d_s8.c.
 *   weights  [filter_height][filter_width][input_channels * depth_multiplier]  int4, symmetric,
 *            two a byte as TFLite packs them, without gaps
 * Bit-exact with: TFLM's DEPTHWISE_CONV_2D reference kernel, which unpacks the weights to int8 in RAM first.
 * Overflow: aot/requantization.py proves for each layer that no partial sum leaves int32.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "depthwise_conv_2d_s8_w4.h"

#define TFLASH_INT4_WEIGHTS 1
#define TFLASH_PARAMS struct tflash_depthwise_conv_2d_s8_params
#include "depthwise_conv_2d_s8_body.h"

#define TFLASH_BODY static void run
#include "depthwise_conv_2d_body.h"

void tflash_depthwise_conv_2d_s8_w4(const struct tflash_depthwise_conv_2d_s8_w4_params *p, const int8_t *input,
                                    int8_t *output) {
  run(&p->layer, input, output);
}
