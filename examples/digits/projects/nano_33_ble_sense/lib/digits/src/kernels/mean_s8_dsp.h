/* Mean or sum over neighbouring axes, int8, by SXTAB16. The contract is in mean_s8_dsp.c. */
#ifndef TFLASH_MEAN_S8_DSP_H
#define TFLASH_MEAN_S8_DSP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_mean_s8_dsp_params {
  int32_t outer; /* the input is [outer][run][inner] */
  int32_t run;
  int32_t inner;
  int32_t sum_offset; /* -zero point of the input * run */
  int32_t output_offset;
  int32_t multiplier;
  int32_t shift;
};

void tflash_mean_s8_dsp(const struct tflash_mean_s8_dsp_params *p, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_MEAN_S8_DSP_H */
