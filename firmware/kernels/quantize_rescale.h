/* Change of scale, zero point or type of integer codes. The contract is in quantize_rescale.c. */
#ifndef TFLASH_QUANTIZE_RESCALE_H
#define TFLASH_QUANTIZE_RESCALE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum tflash_rescale_type {
  TFLASH_RESCALE_S8 = 0,
  TFLASH_RESCALE_U8 = 1,
  TFLASH_RESCALE_S16 = 2,
  TFLASH_RESCALE_S32 = 3 /* only as an output */
};

struct tflash_quantize_rescale_params {
  int32_t size; /* elements */
  int32_t input_type; /* enum tflash_rescale_type */
  int32_t output_type;
  int32_t input_offset; /* -zero point of the input */
  int32_t multiplier;
  int32_t shift;
  int32_t output_offset; /* zero point of the output */
};

void tflash_quantize_rescale(const struct tflash_quantize_rescale_params *p, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_QUANTIZE_RESCALE_H */
