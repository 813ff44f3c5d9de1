/* Sum or difference of two tensors, int8. The contract is in add_s8.c. */
#ifndef TFLASH_ADD_S8_H
#define TFLASH_ADD_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_add_s8_params {
  int32_t shape[4];          /* of the output, outer to inner, 1 where unused */
  int32_t coarse_strides[4]; /* elements from one index to the next, 0 where the input repeats */
  int32_t fine_strides[4];
  int32_t coarse_factor; /* 2^19, or -2^19 where it is subtracted */
  int32_t coarse_offset; /* coarse_factor * -zero point of the coarser input */
  int32_t fine_offset;   /* -zero point of the finer input */
  int32_t fine_high;     /* its multiplier, doubled where its scale is the coarser one's, is fine_high * 2^11 + fine_low */
  int32_t fine_low;      /* 0..2047 */
  int32_t fine_right;    /* it is shifted right by fine_right + 1 */
  int32_t fine_factor;   /* 1, or -1 where it is subtracted */
  int32_t multiplier;
  int32_t shift; /* -31..0 */
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
};

void tflash_add_s8(const struct tflash_add_s8_params *p, const int8_t *coarse, const int8_t *fine, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_ADD_S8_H */
