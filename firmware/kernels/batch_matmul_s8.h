/* Product of matrices, int8. The contract is in batch_matmul_s8.c. */
#ifndef TFLASH_BATCH_MATMUL_S8_H
#define TFLASH_BATCH_MATMUL_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_batch_matmul_s8_params {
  int32_t batches[3]; /* outer to inner, 1 where unused */
  int32_t left_batches[3]; /* elements from one matrix to the next, 0 where it repeats */
  int32_t right_batches[3];
  int32_t rows;
  int32_t columns;
  int32_t depth;
  int32_t left_row; /* elements from one row of the left matrix to the next */
  int32_t left_step; /* .. and along a row */
  int32_t right_column;
  int32_t right_step;
  int32_t left_offset; /* -zero point */
  int32_t right_offset;
  int32_t output_offset;
  int32_t multiplier;
  int32_t shift;
};

void tflash_batch_matmul_s8(const struct tflash_batch_matmul_s8_params *p, const int8_t *left, const int8_t *right,
                            int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_BATCH_MATMUL_S8_H */
