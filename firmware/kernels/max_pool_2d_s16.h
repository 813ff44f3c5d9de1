/* 2-D maximum pooling, int16. The contract is in max_pool_2d_s16.c. */
#ifndef TFLASH_MAX_POOL_2D_S16_H
#define TFLASH_MAX_POOL_2D_S16_H

#include <stdint.h>

#include "max_pool_2d_s8.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_max_pool_2d_s16_params {
  struct tflash_max_pool_2d_s8_params layer;
};

void tflash_max_pool_2d_s16(const struct tflash_max_pool_2d_s16_params *p, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_MAX_POOL_2D_S16_H */
