/* Change of scale, zero point or type of integer codes.
 *   output = clamp(requant(input + input_offset) + output_offset), to the range of the output's type
 *   input   [size] int8, uint8 or int16
 *   output  [size] int8, uint8, int16 or int32
 * Bit-exact with: TFLM's QUANTIZE of integers (double rounding).
 * Overflow: aot/ops/quantize.py proves it for each layer.
 * Scratch: none. The output may be the input where both are of one byte an element. */
#include "quantize_rescale.h"

#include "requant.h"

static int32_t load(const void *input, int32_t type, int32_t i) {
  switch (type) {
    case TFLASH_RESCALE_U8:
      return ((const uint8_t *)input)[i];
    case TFLASH_RESCALE_S16:
      return ((const int16_t *)input)[i];
    default:
      return ((const int8_t *)input)[i];
  }
}

static void store(void *output, int32_t type, int32_t i, int32_t value) {
  switch (type) {
    case TFLASH_RESCALE_U8:
      ((uint8_t *)output)[i] = (uint8_t)tflash_clamp(value, 0, UINT8_MAX);
      break;
    case TFLASH_RESCALE_S16:
      ((int16_t *)output)[i] = (int16_t)tflash_clamp(value, INT16_MIN, INT16_MAX);
      break;
    case TFLASH_RESCALE_S32:
      ((int32_t *)output)[i] = value;
      break;
    default:
      ((int8_t *)output)[i] = (int8_t)tflash_clamp(value, INT8_MIN, INT8_MAX);
      break;
  }
}

void tflash_quantize_rescale(const struct tflash_quantize_rescale_params *p, const void *input, void *output) {
  for (int32_t i = 0; i < p->size; ++i) {
    const int32_t value = load(input, p->input_type, i) + p->input_offset;
    store(output, p->output_type, i, tflash_requantize(value, p->multiplier, p->shift) + p->output_offset);
  }
}
