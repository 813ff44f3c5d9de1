/* Sigmoid or hyperbolic tangent, int16 in, int16 out.
 *   output = round(2^15 * f(input scale * input)), as far as a table [256] and lines between its entries give it
 *   input   [size] int16, zero point 0
 *   output  [size] int16, scale 1/32768, zero point 0
 * Bit-exact with: TFLM's LOGISTIC and TANH.
 * Overflow: none possible. Scaled inputs and what rounds them are within +-2^30 each.
 * Scratch: none. The output may be the input. */
#include "logistic_tanh_s16.h"

#include "sigmoid_s16.h"

void tflash_logistic_tanh_s16(const struct tflash_logistic_tanh_s16_params *p, const int16_t *input, int16_t *output) {
  const int32_t half = p->shift > 0 ? INT32_C(1) << (p->shift - 1) : 0;
  for (int32_t i = 0; i < p->size; ++i) {
    const int32_t x = (input[i] * p->multiplier + half) >> p->shift;
    output[i] = p->tanh != 0 ? tflash_tanh_s16(p->table, x) : tflash_sigmoid_s16(p->table, x);
  }
}
