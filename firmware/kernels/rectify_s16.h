/* Rectifiers, int16. The contract is in rectify_s16.c. */
#ifndef TFLASH_RECTIFY_S16_H
#define TFLASH_RECTIFY_S16_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_rectify_s16_params {
  int32_t size;
  int32_t multiplier; /* of codes above 0 */
  int32_t shift;
  int32_t negative_multiplier; /* of codes below 0; 0 in a plain rectifier */
  int32_t negative_shift;
  int32_t most; /* the largest code that comes out */
};

void tflash_rectify_s16(const struct tflash_rectify_s16_params *p, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_RECTIFY_S16_H */
