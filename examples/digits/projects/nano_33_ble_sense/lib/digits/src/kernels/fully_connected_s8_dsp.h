/* Fully connected layer, int8, by SMLAD. The contract is in fully_connected_s8_dsp.c. */
#ifndef TFLASH_FULLY_CONNECTED_S8_DSP_H
#define TFLASH_FULLY_CONNECTED_S8_DSP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_fully_connected_s8_dsp_params {
  int32_t batches;
  int32_t depth;
  int32_t outputs;
  int16_t doubled_zero; /* 2 * zero point of the output + 1 */
  int16_t per_channel;  /* 1: a multiplier and code for each output, 0: one for all */
  int8_t activation_min;
  int8_t activation_max;
  const int8_t *weights;
  const int32_t *bias;
  const int32_t *multipliers;
  const int8_t *codes;
  void *scratch; /* or NULL, where depth is a multiple of 4 */
};

void tflash_fully_connected_s8_dsp(const struct tflash_fully_connected_s8_dsp_params *p, const int8_t *input,
                                   int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_FULLY_CONNECTED_S8_DSP_H */
