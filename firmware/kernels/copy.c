/* Copy of a tensor's bytes: READ_VARIABLE, ASSIGN_VARIABLE, and what else only moves bytes.
 *   input, output  [bytes], of any type
 * Overflow: none possible.
 * Scratch: none. Input and output must not overlap. */
#include "copy.h"

#include <string.h>

void tflash_copy(const struct tflash_copy_params *p, const void *input, void *output) {
  memcpy(output, input, p->bytes);
}
