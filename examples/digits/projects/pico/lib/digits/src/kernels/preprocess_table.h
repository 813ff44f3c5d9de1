/* Raw bytes to codes of a model's input, by tables. The contract is in preprocess_table.c. */
#ifndef TFLASH_PREPROCESS_TABLE_H
#define TFLASH_PREPROCESS_TABLE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_preprocess_table_params {
  int32_t places;
  int32_t channels;
  int32_t place_stride; /* of raw, elements */
  int32_t channel_stride;
  const uint8_t *const *tables; /* [channels][256] */
};

void tflash_preprocess_table(const struct tflash_preprocess_table_params *p, const uint8_t *raw, uint8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_PREPROCESS_TABLE_H */
