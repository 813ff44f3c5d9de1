/* Softmax over the last dimension, int16 in, int16 out.
 *   e[d] = exp(beta * input scale * (input[d] - max input)), by table, with linear interpolation
 *   output[d] = round(2^15 * e[d] / sum e), the division a table as well
 *   input   [rows][depth] int16, zero point 0
 *   output  [rows][depth] int16, scale 1/32768, zero point 0
 * Bit-exact with: TFLM's SOFTMAX.
 * Overflow: aot/ops/softmax.py proves that differences can be scaled and that the sum of exponentials is an int32.
 * Scratch: none, exponentials wait in the output. The output may be the input. */
#include "softmax_s16.h"

/* A softmax is a thousandth of a network's time: small is better. */
#include "small_code.h"

#include "requant.h"

/* Between the entries of a table [513] over all codes. */
static int32_t interpolate(const int16_t *table, int32_t code) {
  const int16_t *entry = table + 256 + (code >> 7);
  return entry[0] + (((entry[1] - entry[0]) * (code & 127) + 64) >> 7);
}

static int32_t leading_zeros(uint32_t value) {
  int32_t count = 0;
  for (; (value & (UINT32_C(1) << 31)) == 0; value <<= 1) {
    ++count;
  }
  return count;
}

static void softmax(const struct tflash_softmax_s16_params *p, const int16_t *input, int16_t *output) {
  int32_t max = INT16_MIN;
  for (int32_t d = 0; d < p->depth; ++d) {
    max = input[d] > max ? input[d] : max;
  }
  int32_t sum = 0;
  for (int32_t d = 0; d < p->depth; ++d) {
    const int32_t x = tflash_requantize(input[d] - max, p->multiplier, p->shift);
    output[d] = (int16_t)interpolate(p->exp_table, tflash_clamp(x + INT16_MAX, INT16_MIN, INT16_MAX));
    sum += output[d];
  }
  /* sum = (1 + x) * 2^(16 - zeros) in Q16.15, with x in [0, 1) */
  const int32_t zeros = leading_zeros((uint32_t)sum);
  const uint32_t mantissa = (((uint32_t)sum << (zeros - 1)) + (1u << 13)) >> 14;
  const int32_t x = tflash_clamp((int32_t)mantissa - ((1 << 15) + (1 << 16)), INT16_MIN, INT16_MAX);
  const int32_t reciprocal = interpolate(p->reciprocal_table, x);
  const int32_t right = 31 - zeros;
  for (int32_t d = 0; d < p->depth; ++d) {
    const int32_t result = (output[d] * reciprocal + (INT32_C(1) << (right - 1))) >> right;
    output[d] = (int16_t)tflash_clamp(result, 0, INT16_MAX);
  }
}

void tflash_softmax_s16(const struct tflash_softmax_s16_params *p, const int16_t *input, int16_t *output) {
  for (int32_t row = 0; row < p->rows; ++row) {
    softmax(p, input + row * p->depth, output + row * p->depth);
  }
}
