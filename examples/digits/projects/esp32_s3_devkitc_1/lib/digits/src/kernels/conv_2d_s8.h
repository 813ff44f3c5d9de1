/* 2-D convolution, int8. The contract is in conv_2d_s8.c. */
#ifndef TFLASH_CONV_2D_S8_H
#define TFLASH_CONV_2D_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_conv_2d_s8_params {
  int32_t batches;
  int32_t input_height;
  int32_t input_width;
  int32_t input_channels;
  int32_t output_height;
  int32_t output_width;
  int32_t output_channels;
  int32_t filter_height;
  int32_t filter_width;
  int32_t filter_channels;   /* input channels a filter sees: input_channels / groups */
  int32_t filters_per_group; /* output_channels / groups */
  int32_t stride_height;
  int32_t stride_width;
  int32_t dilation_height;
  int32_t dilation_width;
  int32_t pad_top;
  int32_t pad_left;
  int32_t input_offset; /* -zero point of the input, or 0 where it is in the bias */
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
  int32_t per_channel; /* 1: a multiplier and shift for each output channel, 0: one for all */
  const int8_t *weights;
  const int32_t *bias; /* or NULL */
  const int32_t *multipliers;
  const int8_t *shifts;
};

void tflash_conv_2d_s8(const struct tflash_conv_2d_s8_params *p, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_CONV_2D_S8_H */
