/* 2-D maximum pooling, int16 in, int16 out, of equal scale and zero point.
 *   output[b][y][x][c] = clamp(max of the window's codes inside the input)
 *   input   [batches][input_height][input_width][channels]    int16
 *   output  [batches][output_height][output_width][channels]  int16
 * Every window covers at least one input position.
 * Bit-exact with: TFLM's MAX_POOL_2D reference kernel.
 * Overflow: none possible.
 * Scratch: none. Outputs are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "max_pool_2d_s16.h"

#define TFLASH_CODE int16_t
#define TFLASH_PARAMS struct tflash_max_pool_2d_s8_params
#define TFLASH_START INT16_MIN
#define TFLASH_TAKE(acc, code) ((code) > (acc) ? (code) : (acc))
#define TFLASH_RESULT(acc, count) ((void)(count), (acc))
#define TFLASH_BODY static void run
#include "pool_2d_body.h"

void tflash_max_pool_2d_s16(const struct tflash_max_pool_2d_s16_params *p, const int16_t *input, int16_t *output) {
  run(&p->layer, input, output);
}
