/* Filters on one window, with int4 weights. The contract is in filters_s8_w4.c. */
#ifndef TFLASH_FILTERS_S8_W4_H
#define TFLASH_FILTERS_S8_W4_H

#include <stdint.h>

#include "filters_s8.h"

#ifdef __cplusplus
extern "C" {
#endif

void tflash_filters_s8_w4(const struct tflash_filters *f, const struct tflash_window *window, const int8_t *input,
                          int32_t begin, int32_t end, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_FILTERS_S8_W4_H */
