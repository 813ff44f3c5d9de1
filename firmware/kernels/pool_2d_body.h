/* The loops of the pooling kernels, which hold the contracts. They define
 *   TFLASH_CODE, TFLASH_PARAMS  the types of codes and of the parameters
 *   TFLASH_START                what a window begins with
 *   TFLASH_TAKE(acc, code)      what a code makes of it
 *   TFLASH_RESULT(acc, count)   what comes out after `count` codes
 *   TFLASH_BODY                 how the function is declared
 * Four channels at a time go through a window and share its loops. */
#ifndef TFLASH_POOL_2D_BODY_H
#define TFLASH_POOL_2D_BODY_H

#include "plain_loops.h"

#include <stdint.h>

#include "requant.h"
#include "window.h"

/* The positions of a window that lie inside the input, at least one. */
struct positions {
  int32_t rows;
  int32_t columns;
  int32_t step; /* elements from one position to the next */
  int32_t skip; /* and more from the last of a row to the next */
};

__attribute__((noinline)) static void take_four(const struct positions *t, const TFLASH_CODE *input, int32_t *results) {
  const int32_t step = t->step;
  int32_t acc0 = TFLASH_START;
  int32_t acc1 = TFLASH_START;
  int32_t acc2 = TFLASH_START;
  int32_t acc3 = TFLASH_START;
  int32_t rows = t->rows;
  do {
    int32_t n = t->columns;
    do {
      acc0 = TFLASH_TAKE(acc0, input[0]);
      acc1 = TFLASH_TAKE(acc1, input[1]);
      acc2 = TFLASH_TAKE(acc2, input[2]);
      acc3 = TFLASH_TAKE(acc3, input[3]);
      input += step;
      TFLASH_ADVANCED(input)
    } while (--n != 0);
    input += t->skip;
  } while (--rows != 0);
  results[0] = acc0;
  results[1] = acc1;
  results[2] = acc2;
  results[3] = acc3;
}

__attribute__((noinline)) static void take_one(const struct positions *t, const TFLASH_CODE *input, int32_t *result) {
  int32_t acc = TFLASH_START;
  for (int32_t rows = t->rows; rows > 0; --rows) {
    for (int32_t n = t->columns; n > 0; --n) {
      acc = TFLASH_TAKE(acc, *input);
      input += t->step;
    }
    input += t->skip;
  }
  *result = acc;
}

TFLASH_BODY(const TFLASH_PARAMS *p, const TFLASH_CODE *input, TFLASH_CODE *output) {
  const int32_t channels = p->channels;
  const int32_t input_row = p->input_width * channels;
  const int32_t low = p->activation_min;
  const int32_t high = p->activation_max;
  struct positions inside = {.step = channels};

  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t y = 0; y < p->output_height; ++y) {
      const int32_t y_origin = y * p->stride_height - p->pad_top;
      const int32_t fy_first = tflash_first_tap(y_origin, 1);
      inside.rows = tflash_end_tap(y_origin, 1, p->filter_height, p->input_height) - fy_first;
      for (int32_t x = 0; x < p->output_width; ++x) {
        const int32_t x_origin = x * p->stride_width - p->pad_left;
        const int32_t fx_first = tflash_first_tap(x_origin, 1);
        inside.columns = tflash_end_tap(x_origin, 1, p->filter_width, p->input_width) - fx_first;
        inside.skip = input_row - inside.columns * channels;
        const int32_t count = inside.rows * inside.columns;
        const TFLASH_CODE *in = input + (y_origin + fy_first) * input_row + (x_origin + fx_first) * channels;

        for (int32_t c = 0; c < channels;) {
          int32_t results[4];
          const int32_t end = channels - c < 4 ? c + 1 : c + 4;
          if (end == c + 4) {
            take_four(&inside, in + c, results);
          } else {
            take_one(&inside, in + c, results);
          }
          for (const int32_t *result = results; c < end; ++c) {
            const int32_t acc = *result++;
            *output++ = (TFLASH_CODE)tflash_clamp(TFLASH_RESULT(acc, count), low, high);
          }
        }
      }
    }
    input += p->input_height * input_row;
  }
}

#endif /* TFLASH_POOL_2D_BODY_H */
