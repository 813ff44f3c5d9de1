/* Where elements lie that are walked in another order than they are stored. */
#ifndef TFLASH_STRIDES_H
#define TFLASH_STRIDES_H

#include <stdint.h>

/* Where element `index` of a row-major array of these sizes lies, given the strides. */
static inline int32_t tflash_offset_of(int32_t index, const int32_t sizes[4], const int32_t strides[4]) {
  int32_t offset = 0;
  for (int32_t d = 3; d >= 0; --d) {
    offset += index % sizes[d] * strides[d];
    index /= sizes[d];
  }
  return offset;
}

#endif /* TFLASH_STRIDES_H */
