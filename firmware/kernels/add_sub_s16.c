/* Sum or difference of two tensors, int16 in, int16 out, each repeated along the dimensions where the other is longer.
 *   x = requant1(input1 * 2^15), y = requant2(input2 * 2^15)
 *   output = clamp(requant(x + y)), or of x - y
 *   input1, input2  int16, zero point 0, any shapes that broadcast to the output's; neighbouring dimensions are merged
 *   output          [shape] int16, zero point 0
 * Bit-exact with: TFLM's ADD and SUB (double rounding).
 * Overflow: none possible. The first two multipliers are at most 1/2, so x and y are within +-2^29.
 * Scratch: none. The output may be an input that has the output's shape; else they must not overlap. */
#include "add_sub_s16.h"

#include "requant.h"

static int16_t add_sub(const struct tflash_add_sub_s16_params *p, int32_t a, int32_t b) {
  const int32_t left = INT32_C(1) << 15;
  const int32_t x = tflash_requantize(a * left, p->multiplier1, p->shift1);
  const int32_t y = tflash_requantize(b * left, p->multiplier2, p->shift2);
  const int32_t result = tflash_requantize(p->subtract != 0 ? x - y : x + y, p->output_multiplier, p->output_shift);
  return (int16_t)tflash_clamp(result, p->activation_min, p->activation_max);
}

#define TFLASH_PARAMS struct tflash_add_sub_s16_params
#define TFLASH_ELEMENT add_sub
#define TFLASH_BODY void tflash_add_sub_s16
#include "elementwise_s16_body.h"
