/* Softmax over the last dimension, int8. The contract is in softmax_s8.c. */
#ifndef TFLASH_SOFTMAX_S8_H
#define TFLASH_SOFTMAX_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_softmax_s8_params {
  int32_t rows;
  int32_t depth; /* 1..4095 */
  int32_t multiplier; /* beta * input scale, to Q5.26 */
  int32_t shift;      /* 0..30, to the left */
  int32_t smallest;   /* differences from a row's maximum below this count as 0 */
};

void tflash_softmax_s8(const struct tflash_softmax_s8_params *p, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_SOFTMAX_S8_H */
