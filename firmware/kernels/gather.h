/* Entries of a tensor by their indices, of any type. The contract is in gather.c. */
#ifndef TFLASH_GATHER_H
#define TFLASH_GATHER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_gather_params {
  int32_t batches;
  int32_t rows;      /* elements of the dimensions between the batches and the indexed one */
  int32_t entries;   /* of the indexed dimension */
  int32_t positions; /* indices of a batch */
  int32_t run_bytes; /* bytes of an entry */
};

void tflash_gather(const struct tflash_gather_params *p, const void *input, const int32_t *positions, void *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_GATHER_H */
