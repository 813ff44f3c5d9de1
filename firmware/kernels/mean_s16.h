/* Mean or sum over any axes, int16. The contract is in mean_s16.c. */
#ifndef TFLASH_MEAN_S16_H
#define TFLASH_MEAN_S16_H

#include <stdint.h>

#include "mean_s8.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_mean_s16_params {
  struct tflash_mean_s8_params layer;
};

void tflash_mean_s16(const struct tflash_mean_s16_params *p, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_MEAN_S16_H */
