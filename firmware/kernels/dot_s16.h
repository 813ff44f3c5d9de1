/* Sums of int16 codes times int8 weights, and what becomes of them: the arithmetic of the layers with weights. */
#ifndef TFLASH_DOT_S16_H
#define TFLASH_DOT_S16_H

#include <stdint.h>

#include "requant.h"

/* codes[0] * weights[0] + .., exactly. A product is at most 2^22, so 508 of them are an int32. Four in a turn share the
 * cost of the loop. */
static inline int64_t tflash_dot_s16(const int16_t *codes, const int8_t *weights, int32_t count) {
  int64_t total = 0;
  while (count > 0) {
    const int32_t some = count < 508 ? count : 508;
    const int16_t *end = codes + (some & ~3);
    int32_t sum = 0;
    while (codes != end) {
      sum += weights[0] * codes[0];
      sum += weights[1] * codes[1];
      sum += weights[2] * codes[2];
      sum += weights[3] * codes[3];
      codes += 4;
      weights += 4;
    }
    for (end += some & 3; codes != end; ++codes) {
      sum += *weights++ * *codes;
    }
    total += sum;
    count -= some;
  }
  return total;
}

/* The output code of a sum. rounds_twice: it is an int32, as TFLM's int32 biases make it. */
static inline int32_t tflash_code_of_sum(int64_t sum, int32_t multiplier, int32_t shift, int32_t rounds_twice) {
  return rounds_twice != 0 ? tflash_requantize((int32_t)sum, multiplier, shift)
                           : tflash_requantize_wide(sum, multiplier, shift);
}

#endif /* TFLASH_DOT_S16_H */
