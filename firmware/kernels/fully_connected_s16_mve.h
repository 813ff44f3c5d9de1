/* Fully connected layer, int16, by VMLALDAVA. The contract is in fully_connected_s16_mve.c. */
#ifndef TFLASH_FULLY_CONNECTED_S16_MVE_H
#define TFLASH_FULLY_CONNECTED_S16_MVE_H

#include <stdint.h>

#include "fully_connected_s16.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_fully_connected_s16_mve_params {
  struct tflash_fully_connected_s16_params layer;
};

void tflash_fully_connected_s16_mve(const struct tflash_fully_connected_s16_mve_params *p, const int16_t *input,
                                    int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_FULLY_CONNECTED_S16_MVE_H */
