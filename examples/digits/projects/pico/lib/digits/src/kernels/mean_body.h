/* The loops of mean_s8.c and mean_s16.c, which hold the contract. They say what TFLASH_CODE is, the type of codes, with
 * its limits, and how TFLASH_BODY, the function, is declared. */
#ifndef TFLASH_MEAN_BODY_H
#define TFLASH_MEAN_BODY_H

#include "mean_s8.h"

#include "requant.h"
#include "strides.h"

TFLASH_BODY(const struct tflash_mean_s8_params *p, const TFLASH_CODE *input, TFLASH_CODE *output) {
  for (int32_t k = 0; k < p->outputs; ++k) {
    const TFLASH_CODE *kept = input + tflash_offset_of(k, p->kept_sizes, p->kept_strides);
    int32_t acc = p->sum_offset;
    for (int32_t r = 0; r < p->reductions; ++r) {
      const TFLASH_CODE *run = kept + tflash_offset_of(r, p->reduced_sizes, p->reduced_strides);
      for (int32_t i = 0; i < p->run; ++i) {
        acc += run[i * p->run_stride];
      }
    }
    acc = tflash_requantize(acc, p->multiplier, p->shift) + p->output_offset;
    output[k] = (TFLASH_CODE)tflash_clamp(acc, TFLASH_CODE_MIN, TFLASH_CODE_MAX);
  }
}

#endif /* TFLASH_MEAN_BODY_H */
