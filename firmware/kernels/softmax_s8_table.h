/* Softmax of many outputs, int8. The contract is in softmax_s8_table.c. */
#ifndef TFLASH_SOFTMAX_S8_TABLE_H
#define TFLASH_SOFTMAX_S8_TABLE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_softmax_s8_table_params {
  int32_t rows;
  int32_t depth;    /* 1..4095 */
  int32_t smallest; /* -255..0; differences from a row's maximum below this count as 0 */
  const int32_t *exps;
};

void tflash_softmax_s8_table(const struct tflash_softmax_s8_table_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_SOFTMAX_S8_TABLE_H */
