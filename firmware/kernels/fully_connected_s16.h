/* Fully connected layer, int16. The contract is in fully_connected_s16.c. */
#ifndef TFLASH_FULLY_CONNECTED_S16_H
#define TFLASH_FULLY_CONNECTED_S16_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_fully_connected_s16_params {
  int32_t batches;
  int32_t depth;
  int32_t outputs;
  int32_t rounds_twice; /* 1: the sums are int32 and requantized with two roundings, 0: int64 and one */
  int32_t activation_min;
  int32_t activation_max;
  int32_t per_channel; /* 1: a multiplier and shift for each output, 0: one for all */
  const int8_t *weights;
  const int64_t *bias; /* or NULL */
  const int32_t *multipliers; /* their upper 16 bits, unless rounds_twice */
  const int8_t *shifts;
};

void tflash_fully_connected_s16(const struct tflash_fully_connected_s16_params *p, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_FULLY_CONNECTED_S16_H */
