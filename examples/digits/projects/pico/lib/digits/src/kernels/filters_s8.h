/* Filters on one window. The contract is in filters_s8.c. */
#ifndef TFLASH_FILTERS_S8_H
#define TFLASH_FILTERS_S8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tflash_filters {
  const int8_t *weights;
  const int32_t *bias; /* or NULL */
  const int32_t *multipliers;
  const int8_t *shifts;
  int32_t per_channel; /* 1: a multiplier and shift for each filter, 0: one for all */
  int32_t size;        /* weights of a filter */
  int32_t input_offset;
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
};

/* The weights of a filter that lie on the input: planes of runs of neighbours. A step goes to the next of its kind. */
struct tflash_window {
  int32_t first; /* index in the filter */
  int32_t planes;
  int32_t plane_input_step;
  int32_t plane_filter_step;
  int32_t runs; /* of a plane */
  int32_t run_input_step;
  int32_t run_filter_step;
  int32_t run; /* neighbours, 1 or more */
};

void tflash_filters_s8(const struct tflash_filters *f, const struct tflash_window *window, const int8_t *input,
                       int32_t begin, int32_t end, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_FILTERS_S8_H */
