/* 2-D average pooling for Helium, int8. The contract is in average_pool_2d_s8_mve.c. */
#ifndef TFLASH_AVERAGE_POOL_2D_S8_MVE_H
#define TFLASH_AVERAGE_POOL_2D_S8_MVE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_average_pool_2d_s8_mve_params {
  int32_t batches;
  int32_t input_height;
  int32_t input_width;
  int32_t channels;
  int32_t output_height;
  int32_t output_width;
  int32_t filter_height;
  int32_t filter_width;
  int32_t stride_height;
  int32_t stride_width;
  int32_t pad_top;
  int32_t pad_left;
  int32_t rows_together; /* of a window, so many that they have up to 256 positions */
  int32_t activation_min;
  int32_t activation_max;
};

void tflash_average_pool_2d_s8_mve(const struct tflash_average_pool_2d_s8_mve_params *p, const int8_t *input,
                                   int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_AVERAGE_POOL_2D_S8_MVE_H */
