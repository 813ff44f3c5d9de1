/* Resizing by the nearest neighbour, int8. The contract is in resize_nearest_neighbor_s8.c. */
#ifndef TFLASH_RESIZE_NEAREST_NEIGHBOR_S8_H
#define TFLASH_RESIZE_NEAREST_NEIGHBOR_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_resize_nearest_neighbor_s8_params {
  int32_t batches;
  int32_t input_height;
  int32_t input_width;
  int32_t channels;
  int32_t output_height;
  int32_t output_width;
  const int16_t *rows;    /* [output_height] */
  const int16_t *columns; /* [output_width] */
};

void tflash_resize_nearest_neighbor_s8(const struct tflash_resize_nearest_neighbor_s8_params *p, const int8_t *input,
                                       int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_RESIZE_NEAREST_NEIGHBOR_S8_H */
