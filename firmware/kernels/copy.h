/* Copy of a tensor's bytes. The contract is in copy.c. */
#ifndef TFLASH_COPY_H
#define TFLASH_COPY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_copy_params {
  uint32_t bytes;
};

void tflash_copy(const struct tflash_copy_params *p, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_COPY_H */
