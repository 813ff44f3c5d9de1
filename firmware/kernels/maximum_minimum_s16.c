/* The larger or the smaller of two tensors' codes, int16, each repeated along the dimensions where the other is longer.
 *   output = max(input1, input2) or min(input1, input2)
 *   input1, input2  int16, any shapes that broadcast to the output's; neighbouring dimensions are merged
 *   output          [shape] int16
 * Bit-exact with: TFLM's MAXIMUM and MINIMUM, which compare codes whatever their scales are.
 * Overflow: none possible.
 * Scratch: none. The output may be an input that has the output's shape; else they must not overlap. */
#include "maximum_minimum_s16.h"

static int16_t choose(const struct tflash_maximum_minimum_s16_params *p, int16_t a, int16_t b) {
  return (p->maximum != 0) == (a > b) ? a : b;
}

#define TFLASH_PARAMS struct tflash_maximum_minimum_s16_params
#define TFLASH_ELEMENT choose
#define TFLASH_BODY void tflash_maximum_minimum_s16
#include "elementwise_s16_body.h"
