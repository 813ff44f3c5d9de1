/* Fully connected layer, int8. The contract is in fully_connected_s8.c. */
#ifndef TFLASH_FULLY_CONNECTED_S8_H
#define TFLASH_FULLY_CONNECTED_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_fully_connected_s8_params {
  int32_t batches;
  int32_t depth;
  int32_t outputs;
  int32_t input_offset; /* -zero point of the input, or 0 where it is in the bias */
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
  int32_t per_channel; /* 1: a multiplier and shift for each output, 0: one for all */
  const int8_t *weights;
  const int32_t *bias; /* or NULL */
  const int32_t *multipliers;
  const int8_t *shifts;
};

void tflash_fully_connected_s8(const struct tflash_fully_connected_s8_params *p, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_FULLY_CONNECTED_S8_H */
