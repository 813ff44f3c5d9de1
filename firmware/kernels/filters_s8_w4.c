/* filters_s8 with int4 weights.
 * Input, output and steps are as in filters_s8.c.
 *   weights  int4, symmetric, two a byte as TFLite packs them, without gaps
 * Overflow: the callers' proof.
 * Scratch: none. The window is read for 16 outputs before they are written.
 *
 * Four filters of an even size begin in the same half of a byte, and share codes as in filters_s8.c. */
#include "filters_s8_w4.h"

#define TFLASH_INT4_WEIGHTS 1
#define TFLASH_BODY void tflash_filters_s8_w4
#include "filters_body.h"
