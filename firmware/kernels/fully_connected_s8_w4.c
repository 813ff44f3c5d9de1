/* fully_connected_s8 with int4 weights, which stay packed in flash.
 * Input and output are as in fully_connected_s8.c.
 *   weights  [outputs][depth]  int4, symmetric,
 *            two a byte as TFLite packs them, without gaps
 * Bit-exact with: TFLM's FULLY_CONNECTED reference kernel, which unpacks the weights to int8 in RAM first.
 * Overflow: aot/requantization.py proves for each layer that no partial sum leaves int32.
 * Scratch: none. Input and output must not overlap. */
#include "fully_connected_s8_w4.h"

#include "filters_s8_w4.h"

#define TFLASH_FILTERS tflash_filters_s8_w4
#define TFLASH_BODY static void run
#include "fully_connected_body.h"

void tflash_fully_connected_s8_w4(const struct tflash_fully_connected_s8_w4_params *p, const int8_t *input,
                                  int8_t *output) {
  run(&p->layer, input, output);
}
