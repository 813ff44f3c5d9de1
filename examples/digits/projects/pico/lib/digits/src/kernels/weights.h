/* How the loops of a *_body.h read weights, by what TFLASH_INT4_WEIGHTS is where they are included:
 * 0  a byte each                   1  int4, two a byte as TFLite packs them, the even index in the low nibble
 * A cursor stands at a filter; what is a pointer for bytes is an index for nibbles. */
#ifndef TFLASH_WEIGHTS_H
#define TFLASH_WEIGHTS_H

#include <stdint.h>

#if defined(TFLASH_INT4_WEIGHTS) && TFLASH_INT4_WEIGHTS
typedef int32_t tflash_weight_cursor;
#define TFLASH_FIRST_WEIGHT(weights) 0
#define TFLASH_WEIGHT(weights, cursor, index) tflash_int4((weights), (cursor) + (index))

static inline int32_t tflash_int4(const int8_t *weights, int32_t index) {
  const uint32_t pair = (uint8_t)weights[index >> 1];
  const int32_t nibble = (int32_t)((index & 1) != 0 ? pair >> 4 : pair & 15u);
  return (nibble ^ 8) - 8;
}

static inline int32_t tflash_low_nibble(int8_t pair) {
  return (int8_t)(uint8_t)((uint32_t)pair << 4) >> 4;
}

static inline int32_t tflash_high_nibble(int8_t pair) {
  return pair >> 4;
}
#else
typedef const int8_t *tflash_weight_cursor;
#define TFLASH_FIRST_WEIGHT(weights) (weights)
#define TFLASH_WEIGHT(weights, cursor, index) ((cursor)[index])
#endif

#endif /* TFLASH_WEIGHTS_H */
