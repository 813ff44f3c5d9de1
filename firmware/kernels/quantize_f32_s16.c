/* Quantization, float32 in, int16 out.
 *   output = clamp(round(input / scale) + zero_point), round to nearest with ties away from zero
 *   input   [size] float32
 *   output  [size] int16
 * Bit-exact with: TFLM's QUANTIZE wherever |input / scale| < 2^31, beyond which that is undefined. Here what is larger
 * saturates, infinity included, and what is not a number becomes the zero point, as on Arm.
 * Overflow: none possible.
 * Scratch: none. Input and output must not overlap. */
#include "quantize_f32_s16.h"

#include "requant.h"
#include "round_float.h"

void tflash_quantize_f32_s16(const struct tflash_quantize_f32_s16_params *p, const float *input, int16_t *output) {
  for (int32_t i = 0; i < p->size; ++i) {
    const int32_t code = tflash_round_float(input[i] / p->scale) + p->zero_point;
    output[i] = (int16_t)tflash_clamp(code, INT16_MIN, INT16_MAX);
  }
}
