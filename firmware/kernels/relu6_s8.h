/* Rectifier that stops at 6, int8. The contract is in relu6_s8.c. */
#ifndef TFLASH_RELU6_S8_H
#define TFLASH_RELU6_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_relu6_s8_params {
  int32_t size; /* elements */
  int32_t zero; /* code of 0 */
  int32_t six;  /* code of 6, or 127 */
};

void tflash_relu6_s8(const struct tflash_relu6_s8_params *p, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_RELU6_S8_H */
