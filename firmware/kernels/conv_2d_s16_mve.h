/* 2-D convolution, int16, by VMLADAVA. The contract is in conv_2d_s16_mve.c. */
#ifndef TFLASH_CONV_2D_S16_MVE_H
#define TFLASH_CONV_2D_S16_MVE_H

#include <stdint.h>

#include "conv_2d_s16_tiles.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_conv_2d_s16_mve_params {
  struct tflash_conv_2d_s16_tiles layer;
};

void tflash_conv_2d_s16_mve(const struct tflash_conv_2d_s16_mve_params *p, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_CONV_2D_S16_MVE_H */
