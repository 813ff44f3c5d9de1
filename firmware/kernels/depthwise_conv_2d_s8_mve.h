/* 2-D depthwise convolution for Helium, int8. The contract is in depthwise_conv_2d_s8_mve.c. */
#ifndef TFLASH_DEPTHWISE_CONV_2D_S8_MVE_H
#define TFLASH_DEPTHWISE_CONV_2D_S8_MVE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_depthwise_conv_2d_s8_mve_params {
  int32_t batches;
  int32_t input_height;
  int32_t input_width;
  int32_t input_channels;
  int32_t output_height;
  int32_t output_width;
  int32_t filter_height;
  int32_t filter_width;
  int32_t stride_height;
  int32_t stride_width;
  int32_t pad_top;
  int32_t pad_left;
  int32_t pad_code;      /* the input's zero point */
  int32_t taps_together; /* 1..3 */
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
  int32_t per_channel; /* 1: a multiplier and shift for each output channel, 0: one for all */
  const int8_t *weights;
  const int32_t *bias;
  const int32_t *multipliers;
  const int8_t *shifts;
  int8_t *scratch;
};

void tflash_depthwise_conv_2d_s8_mve(const struct tflash_depthwise_conv_2d_s8_mve_params *p, const int8_t *input,
                                     int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_DEPTHWISE_CONV_2D_S8_MVE_H */
