/* Index of the largest value along an axis, int8. The contract is in arg_max_s8.c. */
#ifndef TFLASH_ARG_MAX_S8_H
#define TFLASH_ARG_MAX_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_arg_max_s8_params {
  int32_t rows;   /* elements of the dimensions before the axis */
  int32_t size;   /* of the axis */
  int32_t stride; /* elements of the dimensions after the axis */
};

void tflash_arg_max_s8(const struct tflash_arg_max_s8_params *p, const int8_t *input, int32_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_ARG_MAX_S8_H */
