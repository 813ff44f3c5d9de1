/* The loops of the kernels on two int16 tensors, each repeated along the dimensions where the other is longer.
 * They define TFLASH_BODY, the function, TFLASH_PARAMS, the type of its parameters, and TFLASH_ELEMENT(p, a, b). */
#ifndef TFLASH_ELEMENTWISE_S16_BODY_H
#define TFLASH_ELEMENTWISE_S16_BODY_H

#include <stdint.h>

TFLASH_BODY(const TFLASH_PARAMS *p, const int16_t *input1, const int16_t *input2, int16_t *output) {
  for (int32_t i = 0; i < p->shape[0]; ++i) {
    for (int32_t j = 0; j < p->shape[1]; ++j) {
      for (int32_t k = 0; k < p->shape[2]; ++k) {
        const int16_t *a = input1 + i * p->strides1[0] + j * p->strides1[1] + k * p->strides1[2];
        const int16_t *b = input2 + i * p->strides2[0] + j * p->strides2[1] + k * p->strides2[2];
        for (int32_t n = 0; n < p->shape[3]; ++n) {
          *output++ = TFLASH_ELEMENT(p, a[n * p->strides1[3]], b[n * p->strides2[3]]);
        }
      }
    }
  }
}

#endif /* TFLASH_ELEMENTWISE_S16_BODY_H */
