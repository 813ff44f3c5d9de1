/* Mean or sum over any axes, int16 in, int16 out.
 * As mean_s8.c, with codes of int16:
 *   input   int16, any shape
 *   output  [outputs] int16, in the order of the kept axes
 * Bit-exact with: TFLM's MEAN and SUM (double rounding).
 * Overflow: aot/ops/reduce.py proves it for each layer.
 * Scratch: none. Input and output must not overlap. */
#include "mean_s16.h"

#define TFLASH_CODE int16_t
#define TFLASH_CODE_MIN INT16_MIN
#define TFLASH_CODE_MAX INT16_MAX
#define TFLASH_BODY static void run
#include "mean_body.h"

void tflash_mean_s16(const struct tflash_mean_s16_params *p, const int16_t *input, int16_t *output) {
  run(&p->layer, input, output);
}
