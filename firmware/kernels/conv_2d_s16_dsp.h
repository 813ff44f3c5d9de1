/* 2-D convolution, int16, by SMLAD. The contract is in conv_2d_s16_dsp.c. */
#ifndef TFLASH_CONV_2D_S16_DSP_H
#define TFLASH_CONV_2D_S16_DSP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_conv_2d_s16_dsp_params {
  int32_t batches;
  int32_t input_height;
  int32_t input_width;
  int32_t input_channels;
  int32_t output_height;
  int32_t output_width;
  int32_t output_channels;
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
  const int8_t *weights;
  const int32_t *bias;
  const int16_t *multipliers;
  const int8_t *shifts;
  int16_t *scratch; /* NULL for a filter of 1 x 1 and a multiple of 4 input channels */
};

void tflash_conv_2d_s16_dsp(const struct tflash_conv_2d_s16_dsp_params *p, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_CONV_2D_S16_DSP_H */
