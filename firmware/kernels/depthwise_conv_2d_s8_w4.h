/* 2-D depthwise convolution, int8 with int4 weights. The contract is in depthwise_conv_2d_s8_w4.c. */
#ifndef TFLASH_DEPTHWISE_CONV_2D_S8_W4_H
#define TFLASH_DEPTHWISE_CONV_2D_S8_W4_H

#include <stdint.h>

#include "depthwise_conv_2d_s8.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_depthwise_conv_2d_s8_w4_params {
  struct tflash_depthwise_conv_2d_s8_params layer; /* its weights are packed */
};

void tflash_depthwise_conv_2d_s8_w4(const struct tflash_depthwise_conv_2d_s8_w4_params *p, const int8_t *input,
                                    int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_DEPTHWISE_CONV_2D_S8_W4_H */
