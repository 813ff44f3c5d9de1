/* Product of two tensors, int16 in, int16 out, each repeated along the dimensions where the other is longer.
 *   output = clamp(requant(input1 * input2))
 *   input1, input2  int16, zero point 0, any shapes that broadcast to the output's; neighbouring dimensions are merged
 *   output          [shape] int16, zero point 0
 * Bit-exact with: TFLM's MUL (double rounding).
 * Overflow: aot/ops/elementwise.py proves it for each layer.
 * Scratch: none. The output may be an input that has the output's shape; else they must not overlap. */
#include "mul_s16.h"

#include "requant.h"

static int16_t mul(const struct tflash_mul_s16_params *p, int32_t a, int32_t b) {
  return (int16_t)tflash_clamp(tflash_requantize(a * b, p->multiplier, p->shift), p->activation_min, p->activation_max);
}

#define TFLASH_PARAMS struct tflash_mul_s16_params
#define TFLASH_ELEMENT mul
#define TFLASH_BODY void tflash_mul_s16
#include "elementwise_s16_body.h"
