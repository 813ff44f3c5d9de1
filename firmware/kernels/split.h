/* Split along one dimension, of any type. The contract is in split.c. */
#ifndef TFLASH_SPLIT_H
#define TFLASH_SPLIT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_split_params {
  int32_t rows; /* elements of the dimensions before the one that is split */
  int32_t outputs;
  const int32_t *row_bytes; /* [outputs], bytes of the split dimension and those after it */
};

void tflash_split(const struct tflash_split_params *p, const void *input, void *const *outputs);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_SPLIT_H */
