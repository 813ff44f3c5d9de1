/* Singular value decomposition filter, int8. The contract is in svdf_s8.c. */
#ifndef TFLASH_SVDF_S8_H
#define TFLASH_SVDF_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_svdf_s8_params {
  int32_t batches;
  int32_t inputs;
  int32_t units;
  int32_t rank;
  int32_t memory;
  int32_t input_offset; /* -zero point of the input */
  int32_t state_zero;   /* zero point of the state; 0 where that is int16 */
  int32_t output_offset;
  int32_t feature_multiplier;
  int32_t feature_shift;
  int32_t output_multiplier;
  int32_t output_shift;
  const int8_t *features; /* [units][rank][inputs] */
  const int8_t *times_s8; /* [units][rank][memory], or NULL where times_s16 is given */
  const int16_t *times_s16;
  const int32_t *bias; /* [units] */
};

void tflash_svdf_s8(const struct tflash_svdf_s8_params *p, const int8_t *input, void *state, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_SVDF_S8_H */
