/* Constant padding, int8.
 *   output[i + before] = input[i], and `value` elsewhere
 *   input   [input_shape] int8; neighbouring dimensions are merged to four
 *   output  [output_shape] int8
 * Bit-exact with: TFLM's PAD and PADV2.
 * Overflow: none possible.
 * Scratch: none. Input and output must not overlap. */
#include "pad_s8.h"

#define TFLASH_CODE int8_t
#define TFLASH_FILL(to, code, count) memset((to), (code), (count))
#define TFLASH_BODY void tflash_pad_s8
#include "pad_body.h"
