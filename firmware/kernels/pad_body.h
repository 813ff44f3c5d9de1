/* The loops of pad_s8.c and pad_s16.c, which hold the contract. They say what TFLASH_CODE is, the type of codes, how
 * TFLASH_FILL(to, code, count) writes a code many times, and how TFLASH_BODY, the function, is declared. */
#ifndef TFLASH_PAD_BODY_H
#define TFLASH_PAD_BODY_H

#include "pad_s8.h"

#include <stddef.h>
#include <string.h>

static int inside(const struct tflash_pad_s8_params *p, int32_t dimension, int32_t index) {
  return index >= p->before[dimension] && index < p->before[dimension] + p->input_shape[dimension];
}

TFLASH_BODY(const struct tflash_pad_s8_params *p, const TFLASH_CODE *input, TFLASH_CODE *output) {
  const size_t output_row = (size_t)p->output_shape[3];
  const size_t input_row = (size_t)p->input_shape[3];
  for (int32_t i = 0; i < p->output_shape[0]; ++i) {
    for (int32_t j = 0; j < p->output_shape[1]; ++j) {
      for (int32_t k = 0; k < p->output_shape[2]; ++k) {
        TFLASH_FILL(output, (TFLASH_CODE)p->value, output_row);
        if (inside(p, 0, i) && inside(p, 1, j) && inside(p, 2, k)) {
          memcpy(output + p->before[3], input, input_row * sizeof(TFLASH_CODE));
          input += input_row;
        }
        output += output_row;
      }
    }
  }
}

#endif /* TFLASH_PAD_BODY_H */
