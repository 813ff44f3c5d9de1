/* Logistic function, int8. The contract is in logistic_s8.c. */
#ifndef TFLASH_LOGISTIC_S8_H
#define TFLASH_LOGISTIC_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_logistic_s8_params {
  int32_t size; /* elements */
  int32_t input_offset; /* -zero point of the input */
  int32_t radius;       /* offset codes of at least this magnitude give 0 or 1 */
  int32_t multiplier;   /* input scale, to Q4.27 */
  int32_t shift;
};

void tflash_logistic_s8(const struct tflash_logistic_s8_params *p, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_LOGISTIC_S8_H */
