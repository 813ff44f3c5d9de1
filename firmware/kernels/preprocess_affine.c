/* Raw values of a sensor become codes of a model's input, or the real numbers of a float input.
 *   real = raw[place * place_stride + channel * channel_stride] * scale[channel] + offset[channel]
 *   output[place][channel] = clamp(round(real / input_scale) + zero_point), round to nearest with ties away from zero
 *   raw     channels last: strides channels and 1; channels first: 1 and places; uint8, int16 or float32
 *   output  [places][channels] int8, uint8 or int16; float32: real as it is
 *   scale, offset  [channels] float32
 * Bit-exact with: the host's preprocessing (pipeline/contract.py, pipeline/data.py), whose float32 operations are each
 * rounded. What is beyond the codes' range saturates, infinity included; what is not a number becomes the zero point.
 * Overflow: none possible in codes; a real number beyond float32 is infinity.
 * Scratch: none. Raw and output must not overlap. */
#include "preprocess_affine.h"

#include "requant.h"
#include "round_float.h"

static float load(const void *raw, int32_t type, int32_t i) {
  switch (type) {
    case TFLASH_PREPROCESS_U8:
      return (float)((const uint8_t *)raw)[i];
    case TFLASH_PREPROCESS_S16:
      return (float)((const int16_t *)raw)[i];
    default:
      return ((const float *)raw)[i];
  }
}

static float normalise(float value, float scale, float offset) {
  const volatile float product = value * scale; /* rounded here: without volatile, compilers may fuse it with the sum */
  return product + offset;
}

static int32_t quantize(const struct tflash_preprocess_affine_params *p, float real, int32_t low, int32_t high) {
  return tflash_clamp(tflash_round_float(real / p->input_scale) + p->zero_point, low, high);
}

void tflash_preprocess_affine(const struct tflash_preprocess_affine_params *p, const void *raw, void *output) {
  int32_t i = 0;
  for (int32_t place = 0; place < p->places; ++place) {
    for (int32_t channel = 0; channel < p->channels; ++channel, ++i) {
      const float value = load(raw, p->raw_type, place * p->place_stride + channel * p->channel_stride);
      const float real = normalise(value, p->scale[channel], p->offset[channel]);
      switch (p->output_type) {
        case TFLASH_PREPROCESS_S8:
          ((int8_t *)output)[i] = (int8_t)quantize(p, real, INT8_MIN, INT8_MAX);
          break;
        case TFLASH_PREPROCESS_U8:
          ((uint8_t *)output)[i] = (uint8_t)quantize(p, real, 0, UINT8_MAX);
          break;
        case TFLASH_PREPROCESS_S16:
          ((int16_t *)output)[i] = (int16_t)quantize(p, real, INT16_MIN, INT16_MAX);
          break;
        default:
          ((float *)output)[i] = real;
          break;
      }
    }
  }
}
