/* 2-D depthwise convolution, int16. The contract is in depthwise_conv_2d_s16.c. */
#ifndef TFLASH_DEPTHWISE_CONV_2D_S16_H
#define TFLASH_DEPTHWISE_CONV_2D_S16_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_depthwise_conv_2d_s16_params {
  int32_t batches;
  int32_t input_height;
  int32_t input_width;
  int32_t input_channels;
  int32_t output_height;
  int32_t output_width;
  int32_t depth_multiplier;
  int32_t filter_height;
  int32_t filter_width;
  int32_t stride_height;
  int32_t stride_width;
  int32_t dilation_height;
  int32_t dilation_width;
  int32_t pad_top;
  int32_t pad_left;
  int32_t activation_min;
  int32_t activation_max;
  int32_t per_channel; /* 1: a multiplier and shift for each output channel, 0: one for all */
  const int8_t *weights;
  const int64_t *bias; /* or NULL */
  const int32_t *multipliers; /* their upper 16 bits */
  const int8_t *shifts;
};

void tflash_depthwise_conv_2d_s16(const struct tflash_depthwise_conv_2d_s16_params *p, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_DEPTHWISE_CONV_2D_S16_H */
