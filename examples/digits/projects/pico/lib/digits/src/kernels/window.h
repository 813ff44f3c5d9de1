/* The taps of a sliding window that lie inside the input, along one dimension.
 *
 * Tap t of a window reads position origin + t * dilation; origin is negative where the window begins in the padding. */
#ifndef TFLASH_WINDOW_H
#define TFLASH_WINDOW_H

#include <stdint.h>

/* The first tap at or after position 0. */
static inline int32_t tflash_first_tap(int32_t origin, int32_t dilation) {
  return origin >= 0 ? 0 : (dilation - 1 - origin) / dilation;
}

/* One past the last tap before position `size`, of a window of `taps`. */
static inline int32_t tflash_end_tap(int32_t origin, int32_t dilation, int32_t taps, int32_t size) {
  const int32_t end = origin >= size ? 0 : (size - 1 - origin) / dilation + 1;
  return end < taps ? end : taps;
}

#endif /* TFLASH_WINDOW_H */
