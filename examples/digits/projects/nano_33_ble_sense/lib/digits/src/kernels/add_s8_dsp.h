/* Sum or difference of two tensors that broadcast, int8, by SMMLAR. The contract is in add_s8_dsp.c. */
#ifndef TFLASH_ADD_S8_DSP_H
#define TFLASH_ADD_S8_DSP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_add_s8_dsp_params {
  int32_t shape[4];          /* of the output, outer to inner, 1 where unused */
  int32_t coarse_strides[4]; /* elements from one index to the next, 0 where the input repeats */
  int32_t fine_strides[4];
  int32_t offset;       /* coarse_factor * -zero point of the coarser input */
  int32_t coarse_factor; /* 2^20, or -2^20 where it is subtracted */
  int32_t fine_offset;  /* 2^fine_left * -zero point of the finer input */
  int32_t fine_multiplier;
  int32_t multiplier;
  int16_t doubled_zero; /* 2 * zero point of the output + 1 */
  int8_t fine_factor; /* 2, or -2 where it is subtracted */
  int8_t fine_left;
  int8_t fine_right; /* at least 1 */
  int8_t code;       /* right shift of the sum - 1, at least 0 */
  int8_t activation_min;
  int8_t activation_max;
};

void tflash_add_s8_dsp(const struct tflash_add_s8_dsp_params *p, const int8_t *coarse, const int8_t *fine,
                       int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_ADD_S8_DSP_H */
