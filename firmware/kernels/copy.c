/* Copy of a tensor's bytes, for a RESHAPE, SQUEEZE or EXPAND_DIMS whose output cannot live where its input does.
 *   input, output  [bytes], of any type
 * Overflow: none possible.
 * Scratch: none. Input and output must not overlap. */
#include "copy.h"

#include <string.h>

void tflash_copy(const struct tflash_copy_params *p, const void *input, void *output) {
  memcpy(output, input, p->bytes);
}
