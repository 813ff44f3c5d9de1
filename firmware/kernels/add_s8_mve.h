/* Sum or difference of two tensors for Helium, int8. The contract is in add_s8_mve.c. */
#ifndef TFLASH_ADD_S8_MVE_H
#define TFLASH_ADD_S8_MVE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_add_s8_mve_params {
  int32_t shape[4];    /* loops over the output, the last one innermost */
  int32_t strides1[4]; /* elements of input1 from one turn of a loop to the next; 0 repeats */
  int32_t strides2[4];
  int32_t sign2; /* of input2 in the sum: 1 or -1 */
  int32_t offset1; /* -zero point of input1 */
  int32_t offset2;
  int32_t multiplier1;
  int32_t shift1;
  int32_t multiplier2;
  int32_t shift2;
  int32_t output_multiplier;
  int32_t output_shift;
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
};

void tflash_add_s8_mve(const struct tflash_add_s8_mve_params *p, const int8_t *input1, const int8_t *input2,
                       int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_ADD_S8_MVE_H */
