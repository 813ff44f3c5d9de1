/* Constant padding, int16. The contract is in pad_s16.c. */
#ifndef TFLASH_PAD_S16_H
#define TFLASH_PAD_S16_H

#include <stdint.h>

#include "pad_s8.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_pad_s16_params {
  struct tflash_pad_s8_params layer;
};

void tflash_pad_s16(const struct tflash_pad_s16_params *p, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_PAD_S16_H */
