/* 2-D depthwise convolution, int16 in, int16 out; any stride, dilation and depth multiplier, padding of any size.
 *   o = i * depth_multiplier + m
 *   output[b][y][x][o] = clamp(requant(bias[o] + sum input[b][y'][x'][i] * weights[fy][fx][o]))
 *   y' = y * stride_height - pad_top + fy * dilation_height, x' likewise; taps outside the input count 0
 *   input    [batches][input_height][input_width][input_channels]                       int16, zero point 0
 *   weights  [filter_height][filter_width][input_channels * depth_multiplier]           int8, symmetric
 *   bias     [input_channels * depth_multiplier]                                        int64
 *   output   [batches][output_height][output_width][input_channels * depth_multiplier]  int16, zero point 0
 * Bit-exact with: TFLM's DEPTHWISE_CONV_2D reference kernel (one rounding).
 * Overflow: aot/requantization.py proves for each layer that the sums stay where requantization is defined, and
 * aot/ops/depthwise_conv_2d.py that those without the bias are int32.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "depthwise_conv_2d_s16.h"

#include <stddef.h>

#include "plain_loops.h"

#include "requant.h"

__attribute__((noinline)) static void requantize(const struct tflash_depthwise_conv_2d_s16_params *p,
                                                 const int32_t *sums, int32_t o, int32_t count, int16_t *output) {
  const int64_t *const bias = p->bias;
  const int32_t *const multipliers = p->multipliers;
  const int8_t *const shifts = p->shifts;
  const int32_t mask = -p->per_channel;
  const int32_t low = p->activation_min;
  const int32_t high = p->activation_max;
  for (int32_t k = 0; k < count; ++k) {
    const int32_t q = (o + k) & mask;
    const int64_t biased = (bias != NULL ? bias[o + k] : 0) + (int64_t)sums[k];
    const int32_t code = tflash_requantize_wide(biased, multipliers[q], shifts[q]);
    output[k] = (int16_t)tflash_clamp(code, low, high);
  }
}

#define TFLASH_INT4_WEIGHTS 0
#define TFLASH_CODE int16_t
#define TFLASH_PARAMS struct tflash_depthwise_conv_2d_s16_params
#define TFLASH_INPUT_OFFSET(p) 0
#define TFLASH_START(p, o) NULL
#define TFLASH_BODY void tflash_depthwise_conv_2d_s16
#include "depthwise_conv_2d_body.h"
