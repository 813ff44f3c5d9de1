/* tflash_dot_s16 by SMLAD: for a multiple of 4 codes, and weights of which each four are stored as 0, 2, 1, 3. */
#ifndef TFLASH_DOT_S16_DSP_H
#define TFLASH_DOT_S16_DSP_H

#include "dsp.h"

/* A product is at most 2^22, so 508 of them are an int32. */
static inline int64_t tflash_dot_s16_dsp(const int16_t *codes, const int8_t *weights, int32_t count) {
  int64_t total = 0;
  while (count > 0) {
    const int32_t some = count < 508 ? count : 508;
    const int16_t *end = codes + some;
    int32_t sum = 0;
    do {
      const uint32_t four = tflash_load_word(weights);
      sum = tflash_smlad(tflash_load_word(codes), tflash_sxtb16(four), sum);
      sum = tflash_smlad(tflash_load_word(codes + 2), tflash_sxtb16_odd(four), sum);
      codes += 4;
      weights += 4;
    } while (codes != end);
    total += sum;
    count -= some;
  }
  return total;
}

#endif /* TFLASH_DOT_S16_DSP_H */
