/* Constant padding, int8. The contract is in pad_s8.c. */
#ifndef TFLASH_PAD_S8_H
#define TFLASH_PAD_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_pad_s8_params {
  int32_t input_shape[4]; /* outer to inner, 1 where unused */
  int32_t before[4];      /* elements put before each dimension */
  int32_t output_shape[4];
  int32_t value;
};

void tflash_pad_s8(const struct tflash_pad_s8_params *p, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_PAD_S8_H */
