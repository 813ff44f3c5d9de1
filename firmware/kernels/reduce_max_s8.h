/* Maximum over any axes, int8. The contract is in reduce_max_s8.c. */
#ifndef TFLASH_REDUCE_MAX_S8_H
#define TFLASH_REDUCE_MAX_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_reduce_max_s8_params {
  int32_t outputs;
  int32_t reductions; /* elements of a maximum, without its innermost run */
  int32_t run;        /* elements of the innermost run, run_stride apart */
  int32_t run_stride;
  int32_t kept_sizes[4]; /* outer to inner, 1 where unused */
  int32_t kept_strides[4];
  int32_t reduced_sizes[4]; /* the same, without the innermost run */
  int32_t reduced_strides[4];
};

void tflash_reduce_max_s8(const struct tflash_reduce_max_s8_params *p, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_REDUCE_MAX_S8_H */
