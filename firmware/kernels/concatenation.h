/* Concatenation along one dimension, of any type. The contract is in concatenation.c. */
#ifndef TFLASH_CONCATENATION_H
#define TFLASH_CONCATENATION_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_concatenation_params {
  int32_t rows;   /* elements of the dimensions before the one that is joined */
  int32_t inputs;
  const int32_t *row_bytes; /* [inputs], bytes of the joined dimension and those after it */
};

void tflash_concatenation(const struct tflash_concatenation_params *p, const void *const *inputs, void *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_CONCATENATION_H */
