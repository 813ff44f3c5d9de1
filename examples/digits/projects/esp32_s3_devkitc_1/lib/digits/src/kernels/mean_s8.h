/* Mean or sum over any axes, int8. The contract is in mean_s8.c. */
#ifndef TFLASH_MEAN_S8_H
#define TFLASH_MEAN_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_mean_s8_params {
  int32_t outputs;
  int32_t reductions; /* elements of a mean, without its innermost run */
  int32_t run;        /* elements of the innermost run, run_stride apart */
  int32_t run_stride;
  int32_t kept_sizes[4]; /* outer to inner, 1 where unused */
  int32_t kept_strides[4];
  int32_t reduced_sizes[4]; /* the same, without the innermost run */
  int32_t reduced_strides[4];
  int32_t sum_offset; /* -zero point of the input * elements of a mean */
  int32_t output_offset;
  int32_t multiplier;
  int32_t shift;
};

void tflash_mean_s8(const struct tflash_mean_s8_params *p, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_MEAN_S8_H */
