/* 2-D convolution, int16 in, int16 out; any stride and dilation, padding of any size on each side, groups.
 *   output[b][y][x][o] = clamp(requant(bias[o] + sum input[b][y'][x'][i'] * weights[o][fy][fx][i]))
 *   y' = y * stride_height - pad_top + fy * dilation_height, x' likewise; taps outside the input count 0
 *   i' = i + filter_channels * (o / filters_per_group)
 *   input    [batches][input_height][input_width][input_channels]                     int16, zero point 0
 *   weights  [output_channels][filter_height][filter_width][filter_channels]          int8, symmetric
 *   bias     [output_channels]                                                        int64
 *   output   [batches][output_height][output_width][output_channels]                  int16, zero point 0
 * Bit-exact with: TFLM's CONV_2D reference kernel: one rounding, or two where the model's bias is int32.
 * Overflow: aot/requantization.py proves for each layer that the sums stay where requantization is defined.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "conv_2d_s16.h"

#define TFLASH_DOT tflash_dot_s16
#define TFLASH_BODY void tflash_conv_2d_s16
#include "conv_2d_s16_body.h"
