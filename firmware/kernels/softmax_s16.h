/* Softmax over the last dimension, int16. The contract is in softmax_s16.c. */
#ifndef TFLASH_SOFTMAX_S16_H
#define TFLASH_SOFTMAX_S16_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_softmax_s16_params {
  int32_t rows;
  int32_t depth;
  int32_t multiplier; /* beta * input scale in steps of exp_table's argument, 10 / 65535 */
  int32_t shift;
  const int16_t *exp_table;        /* exp(x) for x in -10..0, [513], Q0.15 */
  const int16_t *reciprocal_table; /* 1 / (1 + x) for x in 0..1, [513], Q0.15 */
};

void tflash_softmax_s16(const struct tflash_softmax_s16_params *p, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_SOFTMAX_S16_H */
