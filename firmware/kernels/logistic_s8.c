/* Logistic function, int8 in, int8 out.
 *   x = input scale * (input + input_offset)
 *   output = clamp(round(256 / (1 + exp(-x))) - 128)
 *   input   [size] int8
 *   output  [size] int8, scale 1/256, zero point -128
 * Bit-exact with: TFLM's LOGISTIC.
 * Overflow: codes within the radius are below 15 in Q4.27; aot/ops/logistic.py computes the radius.
 * Scratch: none. The output may be the input. */
#include "logistic_s8.h"

#include "fixed_exp.h"
#include "requant.h"

/* 1 / (1 + exp(-x)) in Q0.31 of x in Q4.27. */
static int32_t logistic(int32_t x) {
  if (x == 0) {
    return INT32_C(1) << 30;
  }
  const int32_t of_magnitude = tflash_reciprocal_of_one_plus(tflash_exp_negative(x > 0 ? -x : x, 4));
  return x > 0 ? of_magnitude : INT32_MAX - of_magnitude;
}

void tflash_logistic_s8(const struct tflash_logistic_s8_params *p, const int8_t *input, int8_t *output) {
  for (int32_t i = 0; i < p->size; ++i) {
    const int32_t code = input[i] + p->input_offset;
    if (code <= -p->radius) {
      output[i] = INT8_MIN;
    } else if (code >= p->radius) {
      output[i] = INT8_MAX;
    } else {
      const int32_t y = logistic(tflash_requantize(code, p->multiplier, p->shift));
      output[i] = (int8_t)tflash_clamp(tflash_rounding_shift(y, 23) + INT8_MIN, INT8_MIN, INT8_MAX);
    }
  }
}
