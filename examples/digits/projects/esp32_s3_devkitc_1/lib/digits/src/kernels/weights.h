/* Weights of a layer: a byte each, or int4 two a byte, as TFLite packs them (the even index in the low nibble). */
#ifndef TFLASH_WEIGHTS_H
#define TFLASH_WEIGHTS_H

#include <stdint.h>

/* Weight number `index`. packed is a constant where this is inlined: 1 for int4. */
static inline int32_t tflash_weight(const int8_t *weights, int32_t index, int packed) {
  if (packed == 0) {
    return weights[index];
  }
  const uint32_t pair = (uint8_t)weights[index >> 1];
  const int32_t nibble = (int32_t)((index & 1) != 0 ? pair >> 4 : pair & 15u);
  return (nibble ^ 8) - 8;
}

#endif /* TFLASH_WEIGHTS_H */
