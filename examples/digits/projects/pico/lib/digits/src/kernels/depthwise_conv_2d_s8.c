/* 2-D depthwise convolution, int8 in, int8 out; any stride, dilation and depth multiplier, padding of any size.
 *   o = i * depth_multiplier + m
 *   output[b][y][x][o] = clamp(requant(bias[o] + sum (input[b][y'][x'][i] + input_offset) * weights[fy][fx][o])
 *                              + output_offset)
 *   y' = y * stride_height - pad_top + fy * dilation_height, x' likewise; taps outside the input count 0
 *   input    [batches][input_height][input_width][input_channels]                       int8
 *   weights  [filter_height][filter_width][input_channels * depth_multiplier]           int8, symmetric
 *   bias     [input_channels * depth_multiplier]                                        int32
 *   output   [batches][output_height][output_width][input_channels * depth_multiplier]  int8
 * Bit-exact with: TFLM's DEPTHWISE_CONV_2D reference kernel (double rounding).
 * Overflow: aot/requantization.py proves for each layer that no partial sum leaves int32.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "depthwise_conv_2d_s8.h"

#define TFLASH_INT4_WEIGHTS 0
#define TFLASH_PARAMS struct tflash_depthwise_conv_2d_s8_params
#include "depthwise_conv_2d_s8_body.h"

#define TFLASH_BODY void tflash_depthwise_conv_2d_s8
#include "depthwise_conv_2d_body.h"
