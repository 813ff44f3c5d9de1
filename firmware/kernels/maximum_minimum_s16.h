/* The larger or the smaller of two tensors' codes, int16. The contract is in maximum_minimum_s16.c. */
#ifndef TFLASH_MAXIMUM_MINIMUM_S16_H
#define TFLASH_MAXIMUM_MINIMUM_S16_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_maximum_minimum_s16_params {
  int32_t shape[4]; /* of the output, outer to inner, 1 where unused */
  int32_t strides1[4]; /* of input1: elements from one index to the next, 0 where it repeats */
  int32_t strides2[4];
  int32_t maximum; /* 1: the larger, 0: the smaller */
};

void tflash_maximum_minimum_s16(const struct tflash_maximum_minimum_s16_params *p, const int16_t *input1, const int16_t *input2,
                                int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_MAXIMUM_MINIMUM_S16_H */
