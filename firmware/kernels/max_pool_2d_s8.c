/* 2-D maximum pooling, int8 in, int8 out, of equal scale and zero point.
 *   output[b][y][x][c] = clamp(max of the window's codes inside the input)
 *   input   [batches][input_height][input_width][channels]    int8
 *   output  [batches][output_height][output_width][channels]  int8
 * Every window covers at least one input position.
 * Bit-exact with: TFLM's MAX_POOL_2D reference kernel.
 * Overflow: none possible.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "max_pool_2d_s8.h"

#define TFLASH_CODE int8_t
#define TFLASH_PARAMS struct tflash_max_pool_2d_s8_params
#define TFLASH_START INT8_MIN
#define TFLASH_TAKE(acc, code) ((code) > (acc) ? (code) : (acc))
#define TFLASH_RESULT(acc, count) ((void)(count), (acc))
#define TFLASH_BODY void tflash_max_pool_2d_s8
#include "pool_2d_body.h"
