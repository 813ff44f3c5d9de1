/* Integers of one type as another: codes, whatever they stand for. What does not fit keeps its lowest bits.
 *   output = input
 *   input   [size] int8, int16, int32 or bool
 *   output  [size] int8, int16, int32 or bool; all but 0 is true
 * Bit-exact with: TFLM's CAST of these types.
 * Overflow: as said.
 * Scratch: none. Input and output must not overlap. */
#include "cast.h"

static int32_t load(const void *input, int32_t type, int32_t i) {
  switch (type) {
    case TFLASH_CAST_S16:
      return ((const int16_t *)input)[i];
    case TFLASH_CAST_S32:
      return ((const int32_t *)input)[i];
    case TFLASH_CAST_BOOL:
      return ((const uint8_t *)input)[i];
    default:
      return ((const int8_t *)input)[i];
  }
}

static void store(void *output, int32_t type, int32_t i, int32_t value) {
  switch (type) {
    case TFLASH_CAST_S16:
      ((int16_t *)output)[i] = (int16_t)value;
      break;
    case TFLASH_CAST_S32:
      ((int32_t *)output)[i] = value;
      break;
    case TFLASH_CAST_BOOL:
      ((uint8_t *)output)[i] = value != 0;
      break;
    default:
      ((int8_t *)output)[i] = (int8_t)value;
      break;
  }
}

void tflash_cast(const struct tflash_cast_params *p, const void *input, void *output) {
  for (int32_t i = 0; i < p->size; ++i) {
    store(output, p->output_type, i, load(input, p->input_type, i));
  }
}
