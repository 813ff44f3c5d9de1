/* Fully connected layer, int16 in, int16 out, per-channel or per-tensor int8 weights. All zero points are 0.
 *   output[b][o] = clamp(requant(bias[o] + sum_d input[b][d] * weights[o][d]))
 *   input    [batches][depth]    int16
 *   weights  [outputs][depth]    int8   symmetric
 *   bias     [outputs]           int64  scale = input scale * weight scale[o]
 *   output   [batches][outputs]  int16
 * Bit-exact with: TFLM's FULLY_CONNECTED reference kernels: one rounding, or two where the model's bias is int32.
 * Overflow: aot/requantization.py proves for each layer that the sums stay where requantization is defined.
 * Scratch: none. Input and output must not overlap. */
#include "fully_connected_s16.h"

#define TFLASH_DOT tflash_dot_s16
#define TFLASH_BODY void tflash_fully_connected_s16
#include "fully_connected_s16_body.h"
