/* Vectors of length 1, int8. The contract is in l2_normalization_s8.c. */
#ifndef TFLASH_L2_NORMALIZATION_S8_H
#define TFLASH_L2_NORMALIZATION_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_l2_normalization_s8_params {
  int32_t rows;
  int32_t depth;        /* 1..33025 elements of a vector */
  int32_t input_offset; /* -zero point of the input */
};

void tflash_l2_normalization_s8(const struct tflash_l2_normalization_s8_params *p, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_L2_NORMALIZATION_S8_H */
