/* Raw bytes of a sensor become codes of a model's input.
 *   output[place][channel] = tables[channel][raw[place * place_stride + channel * channel_stride]]
 *   raw     channels last: strides channels and 1; channels first: 1 and places; uint8
 *   output  [places][channels] int8 or uint8, as bytes
 *   tables  [channels][256], what the host makes of each raw value
 * Bit-exact with: the host's preprocessing, whose results the tables are.
 * Overflow: none possible.
 * Scratch: none. The output may be where raw is if raw has its channels last. */
#include "preprocess_table.h"

void tflash_preprocess_table(const struct tflash_preprocess_table_params *p, const uint8_t *raw, uint8_t *output) {
  for (int32_t place = 0; place < p->places; ++place) {
    const uint8_t *values = raw + place * p->place_stride;
    for (int32_t channel = 0; channel < p->channels; ++channel) {
      *output++ = p->tables[channel][values[channel * p->channel_stride]];
    }
  }
}
