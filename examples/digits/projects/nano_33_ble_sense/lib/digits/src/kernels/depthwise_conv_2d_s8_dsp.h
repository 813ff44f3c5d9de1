/* 2-D depthwise convolution, int8, by SMLAD. The contract is in depthwise_conv_2d_s8_dsp.c. */
#ifndef TFLASH_DEPTHWISE_CONV_2D_S8_DSP_H
#define TFLASH_DEPTHWISE_CONV_2D_S8_DSP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_depthwise_conv_2d_s8_dsp_params {
  int16_t batches;
  int16_t input_channels;
  int16_t depth_multiplier;
  int16_t input_lines;
  int16_t input_positions;
  int16_t output_lines;
  int16_t output_positions;
  int16_t filter_lines;
  int16_t filter_positions;
  int16_t line_stride;
  int16_t position_stride;
  int16_t pad_before_lines;
  int16_t pad_before_positions;
  int16_t plane_lines;
  int16_t plane_positions; /* even */
  int16_t doubled_zero; /* 2 * zero point of the output + 1 */
  int8_t lines_are_columns; /* 0: they are rows */
  int8_t pad_code;          /* zero point of the input */
  int8_t code_base;
  int8_t activation_min;
  int8_t activation_max;
  const int8_t *weights;
  const int32_t *bias;
  const int32_t *multipliers;
  const uint8_t *codes;
  void *scratch;
};

void tflash_depthwise_conv_2d_s8_dsp(const struct tflash_depthwise_conv_2d_s8_dsp_params *p, const int8_t *input,
                                     int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_DEPTHWISE_CONV_2D_S8_DSP_H */
