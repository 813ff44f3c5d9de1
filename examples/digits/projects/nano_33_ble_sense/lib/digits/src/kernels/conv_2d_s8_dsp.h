/* 2-D convolution, int8, by SMLAD. The contract is in conv_2d_s8_dsp.c. */
#ifndef TFLASH_CONV_2D_S8_DSP_H
#define TFLASH_CONV_2D_S8_DSP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_conv_2d_s8_dsp_params {
  int16_t batches;
  int16_t input_height;
  int16_t input_width;
  int16_t input_channels;
  int16_t output_height;
  int16_t output_width;
  int16_t output_channels;
  int16_t filter_height;
  int16_t filter_width;
  int16_t stride_height;
  int16_t stride_width;
  int16_t pad_top;
  int16_t pad_left;
  int16_t doubled_zero; /* 2 * zero point of the output + 1 */
  int8_t pad_code; /* zero point of the input */
  int8_t code_base;
  int8_t activation_min;
  int8_t activation_max;
  const int8_t *weights;
  const int32_t *bias;
  const int32_t *multipliers;
  const uint8_t *codes;
  void *scratch;
};

void tflash_conv_2d_s8_dsp(const struct tflash_conv_2d_s8_dsp_params *p, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_CONV_2D_S8_DSP_H */
