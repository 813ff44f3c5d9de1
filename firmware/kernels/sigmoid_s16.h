/* Sigmoid and hyperbolic tangent of int16, by linear interpolation in one table: those of TFLite's int16 kernels.
 *   table [256], int16: about 2^16 * (sigmoid(i / 24) - 1/2); pipeline/aot/sigmoid_table.py
 * tanh(x) = 2 * sigmoid(2 x) - 1. Arguments come times 3, so that a step of the table is a power of two. */
#ifndef TFLASH_SIGMOID_S16_H
#define TFLASH_SIGMOID_S16_H

#include <stdint.h>

/* 2^(16 + bits) * sigmoid at |x| / 2^bits steps of the table; `most` beyond its end. */
static inline int32_t tflash_table_s16(const int16_t *table, int32_t x, int32_t bits, int32_t most) {
  const uint32_t magnitude = x < 0 ? 0u - (uint32_t)x : (uint32_t)x;
  const uint32_t at = magnitude >> bits;
  if (at >= 255u) {
    return most;
  }
  const int32_t low = table[at] + (INT32_C(1) << 15);
  return low * (INT32_C(1) << bits) + (int32_t)(magnitude & ((1u << bits) - 1u)) * (table[at + 1u] - table[at]);
}

/* x is 3 times the real argument in Q3.12; the result is in Q0.15. */
static inline int16_t tflash_sigmoid_s16(const int16_t *table, int32_t x) {
  const int32_t value = tflash_table_s16(table, x, 9, INT32_C(0x7fff) * 1024);
  const int32_t half = 1 << 9;
  return (int16_t)((x >= 0 ? value + half : (INT32_C(1) << 25) - value + half - 1) >> 10);
}

static inline int16_t tflash_tanh_s16(const int16_t *table, int32_t x) {
  const int32_t value = tflash_table_s16(table, x, 8, INT32_C(0xffff) * 256);
  const int32_t one = INT32_C(1) << 23;
  const int32_t half = 1 << 7;
  return (int16_t)((x >= 0 ? value - one + half : -value + one + half - 1) >> 8);
}

#endif /* TFLASH_SIGMOID_S16_H */
