/* Any function of one code, int8. The contract is in lookup_s8.c. */
#ifndef TFLASH_LOOKUP_S8_H
#define TFLASH_LOOKUP_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_lookup_s8_params {
  int32_t size;        /* elements */
  const int8_t *table; /* [256], the results for the codes -128, -127, .., 127 */
};

void tflash_lookup_s8(const struct tflash_lookup_s8_params *p, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_LOOKUP_S8_H */
