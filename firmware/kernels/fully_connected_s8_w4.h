/* Fully connected layer, int8 with int4 weights. The contract is in fully_connected_s8_w4.c. */
#ifndef TFLASH_FULLY_CONNECTED_S8_W4_H
#define TFLASH_FULLY_CONNECTED_S8_W4_H

#include <stdint.h>

#include "fully_connected_s8.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_fully_connected_s8_w4_params {
  struct tflash_fully_connected_s8_params layer; /* its weights are packed */
};

void tflash_fully_connected_s8_w4(const struct tflash_fully_connected_s8_w4_params *p, const int8_t *input,
                                  int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_FULLY_CONNECTED_S8_W4_H */
