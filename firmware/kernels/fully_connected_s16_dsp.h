/* Fully connected layer, int16, by SMLAD. The contract is in fully_connected_s16_dsp.c. */
#ifndef TFLASH_FULLY_CONNECTED_S16_DSP_H
#define TFLASH_FULLY_CONNECTED_S16_DSP_H

#include <stdint.h>

#include "fully_connected_s16.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_fully_connected_s16_dsp_params {
  struct tflash_fully_connected_s16_params layer; /* its weights are in another order */
};

void tflash_fully_connected_s16_dsp(const struct tflash_fully_connected_s16_dsp_params *p, const int16_t *input,
                                    int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_FULLY_CONNECTED_S16_DSP_H */
