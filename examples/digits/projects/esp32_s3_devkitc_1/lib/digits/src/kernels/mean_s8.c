/* Mean or sum over any axes, int8 in, int8 out.
 *   output[k] = clamp(requant(sum_r input[k, r] + sum_offset) + output_offset)
 *   k runs over the axes that are kept and r over the others; a mean's division is part of the multiplier.
 *   Neighbouring axes of one kind are merged, so that at most four of each kind remain; the innermost of the
 *   others is the run.
 *   input   int8, any shape
 *   output  [outputs] int8, in the order of the kept axes
 * Bit-exact with: TFLM's MEAN and SUM (double rounding).
 * Overflow: aot/ops/reduce.py proves it for each layer.
 * Scratch: none. Input and output must not overlap. */
#include "mean_s8.h"

#define TFLASH_CODE int8_t
#define TFLASH_CODE_MIN INT8_MIN
#define TFLASH_CODE_MAX INT8_MAX
#define TFLASH_BODY void tflash_mean_s8
#include "mean_body.h"
