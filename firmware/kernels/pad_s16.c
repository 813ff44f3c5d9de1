/* Constant padding, int16.
 *   output[i + before] = input[i], and `value` elsewhere
 *   input   [input_shape] int16; neighbouring dimensions are merged to four
 *   output  [output_shape] int16
 * Bit-exact with: TFLM's PAD and PADV2.
 * Overflow: none possible.
 * Scratch: none. Input and output must not overlap. */
#include "pad_s16.h"

#include <stddef.h>

static void fill(int16_t *output, int16_t code, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    output[i] = code;
  }
}

#define TFLASH_CODE int16_t
#define TFLASH_FILL fill
#define TFLASH_BODY static void run
#include "pad_body.h"

void tflash_pad_s16(const struct tflash_pad_s16_params *p, const int16_t *input, int16_t *output) {
  run(&p->layer, input, output);
}
