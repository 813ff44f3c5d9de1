/* 2-D convolution, int16, by SMLAD. The contract is in conv_2d_s16_dsp.c. */
#ifndef TFLASH_CONV_2D_S16_DSP_H
#define TFLASH_CONV_2D_S16_DSP_H

#include <stdint.h>

#include "conv_2d_s16_tiles.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_conv_2d_s16_dsp_params {
  struct tflash_conv_2d_s16_tiles layer;
};

void tflash_conv_2d_s16_dsp(const struct tflash_conv_2d_s16_dsp_params *p, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_CONV_2D_S16_DSP_H */
