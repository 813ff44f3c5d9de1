/* The parameters of conv_2d_s16_dsp and conv_2d_s16_mve, whose loops are in conv_2d_s16_tiles_body.h. */
#ifndef TFLASH_CONV_2D_S16_TILES_H
#define TFLASH_CONV_2D_S16_TILES_H

#include <stdint.h>

struct tflash_conv_2d_s16_tiles {
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
  int16_t *scratch; /* NULL for a filter of 1 x 1 that reads the input where it lies */
};

#endif /* TFLASH_CONV_2D_S16_TILES_H */
