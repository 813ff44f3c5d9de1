/* Fully connected layer, int8 in, int8 out, per-channel or per-tensor weights.
 *   output[b][o] = clamp(requant(bias[o] + sum_d (input[b][d] + input_offset) * weights[o][d]) + output_offset)
 *   input    [batches][depth]    int8   real = scale * (input + input_offset)
 *   weights  [outputs][depth]    int8   symmetric
 *   bias     [outputs]           int32  scale = input scale * weight scale[o]
 *   output   [batches][outputs]  int8
 * Bit-exact with: TFLM's FULLY_CONNECTED reference kernels (double rounding).
 * Overflow: aot/requantization.py proves for each layer that no partial sum leaves int32.
 * Scratch: none. Input and output must not overlap. */
#include "fully_connected_s8.h"

#include "filters_s8.h"

#define TFLASH_FILTERS tflash_filters_s8
#define TFLASH_BODY void tflash_fully_connected_s8
#include "fully_connected_body.h"
