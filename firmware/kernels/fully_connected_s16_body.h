/* The loops of fully_connected_s16.c and its twins, which hold the contract.
 * They say what TFLASH_DOT is, tflash_dot_s16 or a twin, and how TFLASH_BODY, the function, is declared. */
#ifndef TFLASH_FULLY_CONNECTED_S16_BODY_H
#define TFLASH_FULLY_CONNECTED_S16_BODY_H

#include "fully_connected_s16.h"

#include <stddef.h>

#include "dot_s16.h"

TFLASH_BODY(const struct tflash_fully_connected_s16_params *p, const int16_t *input, int16_t *output) {
  for (int32_t b = 0; b < p->batches; ++b) {
    const int8_t *weights = p->weights;
    for (int32_t o = 0; o < p->outputs; ++o) {
      const int64_t sum = (p->bias != NULL ? p->bias[o] : 0) + TFLASH_DOT(input, weights, p->depth);
      const int32_t q = p->per_channel != 0 ? o : 0;
      const int32_t code = tflash_code_of_sum(sum, p->multipliers[q], p->shifts[q], p->rounds_twice);
      *output++ = (int16_t)tflash_clamp(code, p->activation_min, p->activation_max);
      weights += p->depth;
    }
    input += p->depth;
  }
}

#endif /* TFLASH_FULLY_CONNECTED_S16_BODY_H */
