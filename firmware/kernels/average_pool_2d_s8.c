/* 2-D average pooling, int8 in, int8 out, of equal scale and zero point.
 *   output[b][y][x][c] = clamp(round(sum of the window's codes inside the input / their count)), ties away from 0
 *   input   [batches][input_height][input_width][channels]    int8
 *   output  [batches][output_height][output_width][channels]  int8
 * Every window covers at least one input position.
 * Bit-exact with: TFLM's AVERAGE_POOL_2D reference kernel.
 * Overflow: a window of up to 2^24 - 1 positions is safe; aot/ops/pool.py checks it.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "average_pool_2d_s8.h"

/* One pooling in a network: small is better than unrolled. */
#include "small_code.h"

#define TFLASH_CODE int8_t
#define TFLASH_PARAMS struct tflash_average_pool_2d_s8_params
#define TFLASH_START 0
#define TFLASH_TAKE(acc, code) ((acc) + (code))
#define TFLASH_RESULT(acc, count) (((acc) > 0 ? (acc) + (count) / 2 : (acc) - (count) / 2) / (count))
#define TFLASH_BODY void tflash_average_pool_2d_s8
#include "pool_2d_body.h"
