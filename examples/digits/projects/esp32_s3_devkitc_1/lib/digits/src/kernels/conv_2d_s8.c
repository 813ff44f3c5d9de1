/* 2-D convolution, int8 in, int8 out; any stride and dilation, padding of any size on each side, groups.
 *   output[b][y][x][o] = clamp(requant(bias[o] + sum (input[b][y'][x'][i'] + input_offset) * weights[o][fy][fx][i])
 *                              + output_offset)
 *   y' = y * stride_height - pad_top + fy * dilation_height, x' likewise; taps outside the input count 0
 *   i' = i + filter_channels * (o / filters_per_group)
 *   input    [batches][input_height][input_width][input_channels]                     int8
 *   weights  [output_channels][filter_height][filter_width][filter_channels]          int8, symmetric
 *   bias     [output_channels]                                                        int32
 *   output   [batches][output_height][output_width][output_channels]                  int8
 * Bit-exact with: TFLM's CONV_2D reference kernel (double rounding).
 * Overflow: aot/requantization.py proves for each layer that no partial sum leaves int32.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "conv_2d_s8.h"

#include "filters_s8.h"

#define TFLASH_FILTERS tflash_filters_s8
#define TFLASH_BODY void tflash_conv_2d_s8
#include "conv_2d_body.h"
