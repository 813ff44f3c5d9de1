/* The loops of fully_connected_s8.c and fully_connected_s8_w4.c, which hold the contract.
 * They say what weights are (weights.h) and how TFLASH_BODY, the function, is declared: inlined it would be slower. */
#ifndef TFLASH_FULLY_CONNECTED_BODY_H
#define TFLASH_FULLY_CONNECTED_BODY_H

#include "fully_connected_s8.h"

#include <stddef.h>

#include "requant.h"
#include "weights.h"

TFLASH_BODY(const struct tflash_fully_connected_s8_params *p, const int8_t *input, int8_t *output) {
  for (int32_t b = 0; b < p->batches; ++b) {
    tflash_weight_cursor w = TFLASH_FIRST_WEIGHT(p->weights);
    for (int32_t o = 0; o < p->outputs; ++o) {
      int32_t acc = p->bias != NULL ? p->bias[o] : 0;
      for (int32_t d = 0; d < p->depth; ++d) {
        acc += TFLASH_WEIGHT(p->weights, w, d) * (input[d] + p->input_offset);
      }
      w += p->depth;
      const int32_t q = p->per_channel != 0 ? o : 0;
      acc = tflash_requantize(acc, p->multipliers[q], p->shifts[q]) + p->output_offset;
      *output++ = (int8_t)tflash_clamp(acc, p->activation_min, p->activation_max);
    }
    input += p->depth;
  }
}

#endif /* TFLASH_FULLY_CONNECTED_BODY_H */
