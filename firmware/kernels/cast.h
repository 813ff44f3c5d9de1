/* Integers of one type as another. The contract is in cast.c. */
#ifndef TFLASH_CAST_H
#define TFLASH_CAST_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum tflash_cast_type { TFLASH_CAST_S8 = 0, TFLASH_CAST_S16 = 1, TFLASH_CAST_S32 = 2, TFLASH_CAST_BOOL = 3 };

struct tflash_cast_params {
  int32_t size;       /* elements */
  int32_t input_type; /* enum tflash_cast_type */
  int32_t output_type;
};

void tflash_cast(const struct tflash_cast_params *p, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_CAST_H */
