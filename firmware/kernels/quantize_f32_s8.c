/* Quantization, float32 in, int8 out.
 *   output = clamp(round(input / scale) + zero_point), round to nearest with ties away from zero
 *   input   [size] float32
 *   output  [size] int8
 * Bit-exact with: TFLM's QUANTIZE wherever |input / scale| < 2^31, beyond which that is undefined. Here what is larger
 * saturates, infinity included, and what is not a number becomes the zero point, as on Arm.
 * Overflow: none possible.
 * Scratch: none. The output may begin where the input does. */
#include "quantize_f32_s8.h"

#include "requant.h"
#include "round_float.h"

void tflash_quantize_f32_s8(const struct tflash_quantize_f32_s8_params *p, const float *input, int8_t *output) {
  for (int32_t i = 0; i < p->size; ++i) {
    const int32_t code = tflash_round_float(input[i] / p->scale) + p->zero_point;
    output[i] = (int8_t)tflash_clamp(code, INT8_MIN, INT8_MAX);
  }
}
