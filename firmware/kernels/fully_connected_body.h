/* The loops of fully_connected_s8.c and fully_connected_s8_w4.c, which hold the contract.
 * They say what TFLASH_FILTERS is, tflash_filters_s8 or its twin, and how TFLASH_BODY, the function, is declared. */
#ifndef TFLASH_FULLY_CONNECTED_BODY_H
#define TFLASH_FULLY_CONNECTED_BODY_H

#include "fully_connected_s8.h"

#include "filters_s8.h"

TFLASH_BODY(const struct tflash_fully_connected_s8_params *p, const int8_t *input, int8_t *output) {
  const struct tflash_filters filters = {
      .weights = p->weights,
      .bias = p->bias,
      .multipliers = p->multipliers,
      .shifts = p->shifts,
      .per_channel = p->per_channel,
      .size = p->depth,
      .input_offset = p->input_offset,
      .output_offset = p->output_offset,
      .activation_min = p->activation_min,
      .activation_max = p->activation_max,
  };
  const struct tflash_window window = {.planes = 1, .runs = 1, .run = p->depth};
  for (int32_t b = 0; b < p->batches; ++b) {
    TFLASH_FILTERS(&filters, &window, input, 0, p->outputs, output);
    input += p->depth;
    output += p->outputs;
  }
}

#endif /* TFLASH_FULLY_CONNECTED_BODY_H */
