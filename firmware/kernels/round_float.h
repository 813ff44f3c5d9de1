/* A float32 becomes an integer, without libm and without undefined behaviour. */
#ifndef TFLASH_ROUND_FLOAT_H
#define TFLASH_ROUND_FLOAT_H

#include <stdint.h>

/* round(x), ties away from zero; +-65536 where x is beyond, infinity included; 0 where x is not a number. */
static inline int32_t tflash_round_float(float x) {
  if (x >= 65536.0f) {
    return 65536;
  }
  if (x > -65536.0f) {
    const int32_t whole = (int32_t)x;
    const float rest = x - (float)whole; /* exact */
    return whole + (rest >= 0.5f ? 1 : 0) - (rest <= -0.5f ? 1 : 0);
  }
  return x <= -65536.0f ? -65536 : 0;
}

#endif /* TFLASH_ROUND_FLOAT_H */
