/* Copy with any strides, of any type. The contract is in strided_copy.c. */
#ifndef TFLASH_STRIDED_COPY_H
#define TFLASH_STRIDED_COPY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_strided_copy_params {
  int32_t sizes[5];   /* of the loops over the output, outer to inner, 1 where unused */
  int32_t strides[5]; /* bytes from one index to the next in the input; negative where it goes backwards */
  int32_t first_byte; /* of the input that is copied */
  int32_t run_bytes;  /* copied at once in the innermost loop */
};

void tflash_strided_copy(const struct tflash_strided_copy_params *p, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_STRIDED_COPY_H */
