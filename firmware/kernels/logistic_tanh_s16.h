/* Sigmoid or hyperbolic tangent, int16. The contract is in logistic_tanh_s16.c. */
#ifndef TFLASH_LOGISTIC_TANH_S16_H
#define TFLASH_LOGISTIC_TANH_S16_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_logistic_tanh_s16_params {
  int32_t size;
  int32_t tanh;       /* 1: the hyperbolic tangent, 0: the sigmoid */
  int32_t multiplier; /* 0..32767; * 2^-shift: 3 * input scale * 4096 */
  int32_t shift;      /* 0..31 */
  const int16_t *table; /* [256], of sigmoid_s16.h */
};

void tflash_logistic_tanh_s16(const struct tflash_logistic_tanh_s16_params *p, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_LOGISTIC_TANH_S16_H */
