/* Bilinear resizing, int8. The contract is in resize_bilinear_s8.c. */
#ifndef TFLASH_RESIZE_BILINEAR_S8_H
#define TFLASH_RESIZE_BILINEAR_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_resize_bilinear_s8_params {
  int32_t batches;
  int32_t input_height;
  int32_t input_width;
  int32_t channels;
  int32_t output_height;
  int32_t output_width;
  int32_t step_y; /* input rows from one output row to the next, times 1024 */
  int32_t step_x;
  int32_t start_y; /* where output row 0 lies in the input, times 1024; above -1024 */
  int32_t start_x;
};

void tflash_resize_bilinear_s8(const struct tflash_resize_bilinear_s8_params *p, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_RESIZE_BILINEAR_S8_H */
