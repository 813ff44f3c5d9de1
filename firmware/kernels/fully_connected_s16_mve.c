/* fully_connected_s16 for Helium (MVE): VMLALDAVA, eight products at once into 64 bits; any depth.
 * Input, weights, bias and output are as in fully_connected_s16.c.
 * Bit-exact with: TFLM's FULLY_CONNECTED reference kernel: one rounding, or two where the model's bias is int32.
 * Overflow: aot/requantization.py proves for each layer that the sums stay where requantization is defined.
 * Scratch: none. Input and output must not overlap. */
#include "fully_connected_s16_mve.h"

#include "dot_s16_mve.h"

#define TFLASH_DOT tflash_dot_s16_mve
#define TFLASH_BODY static void run
#include "fully_connected_s16_body.h"

void tflash_fully_connected_s16_mve(const struct tflash_fully_connected_s16_mve_params *p, const int16_t *input,
                                    int16_t *output) {
  run(&p->layer, input, output);
}
