/* The loops of the portable depthwise convolutions, which hold the contracts. They define
 *   TFLASH_CODE, TFLASH_PARAMS  the types of codes and of the parameters
 *   TFLASH_INPUT_OFFSET(p)      what is added to each input code
 *   TFLASH_START(p, o)          where the sums from output channel o on begin, or NULL: at 0
 *   TFLASH_BODY                 how the function is declared: inlined it would be slower
 *   requantize                  makes codes of the sums of `count` output channels from o on
 * and say what weights are (weights.h).
 *
 * Four outputs at a time go through their window and share its loops: 20 instructions for the four products of a tap on
 * Armv7-M, 24 on RV32, 34 on Armv6-M. Their inputs are neighbours, or one input of which several outputs are made. The
 * sums of up to sixteen are requantized together. */
#ifndef TFLASH_DEPTHWISE_CONV_2D_BODY_H
#define TFLASH_DEPTHWISE_CONV_2D_BODY_H

#include <stddef.h>
#include <string.h>

#include "weights.h"
#include "window.h"

#define TFLASH_MOST_SUMS 16

/* The taps of a window that lie inside the input. */
struct taps {
  int32_t rows;
  int32_t columns;
  int32_t input_step; /* elements from one tap to the next */
  int32_t input_skip; /* and more from the last of a row to the next */
  int32_t weight_step;
  int32_t weight_skip;
  int32_t input_offset;
  const int8_t *weights;
};

/* Four sums, whose inputs are `next` elements apart. */
static inline void add_four(const struct taps *t, const TFLASH_CODE *input, tflash_weight_cursor weight, int32_t next,
                            const int32_t *from, int32_t *sums) {
  const int32_t offset = t->input_offset;
  const int32_t input_step = t->input_step;
  const int32_t weight_step = t->weight_step;
  int32_t sum0 = from[0];
  int32_t sum1 = from[1];
  int32_t sum2 = from[2];
  int32_t sum3 = from[3];
  int32_t rows = t->rows;
  if (rows > 0) {
    do {
      int32_t n = t->columns;
      do {
        sum0 += TFLASH_WEIGHT(t->weights, weight, 0) * (input[0] + offset);
        sum1 += TFLASH_WEIGHT(t->weights, weight, 1) * (input[next] + offset);
        sum2 += TFLASH_WEIGHT(t->weights, weight, 2) * (input[2 * next] + offset);
        sum3 += TFLASH_WEIGHT(t->weights, weight, 3) * (input[3 * next] + offset);
        input += input_step;
        weight += weight_step;
        TFLASH_ADVANCED(input)
        TFLASH_ADVANCED(weight)
      } while (--n != 0);
      input += t->input_skip;
      weight += t->weight_skip;
    } while (--rows != 0);
  }
  sums[0] = sum0;
  sums[1] = sum1;
  sums[2] = sum2;
  sums[3] = sum3;
}

__attribute__((noinline)) static void add_neighbours(const struct taps *t, const TFLASH_CODE *input,
                                                     tflash_weight_cursor weight, const int32_t *from, int32_t *sums) {
  add_four(t, input, weight, 1, from, sums);
}

__attribute__((noinline)) static void add_shared(const struct taps *t, const TFLASH_CODE *input,
                                                 tflash_weight_cursor weight, const int32_t *from, int32_t *sums) {
  add_four(t, input, weight, 0, from, sums);
}

__attribute__((noinline)) static void add_one(const struct taps *t, const TFLASH_CODE *input,
                                              tflash_weight_cursor weight, const int32_t *from, int32_t *sums) {
  int32_t sum = *from;
  for (int32_t rows = t->rows; rows > 0; --rows) {
    for (int32_t n = t->columns; n > 0; --n) {
      sum += TFLASH_WEIGHT(t->weights, weight, 0) * (*input + t->input_offset);
      input += t->input_step;
      weight += t->weight_step;
    }
    input += t->input_skip;
    weight += t->weight_skip;
  }
  *sums = sum;
}

TFLASH_BODY(const TFLASH_PARAMS *p, const TFLASH_CODE *input, TFLASH_CODE *output) {
  const int32_t output_channels = p->input_channels * p->depth_multiplier;
  const int32_t image_row = p->input_width * p->input_channels;
  const int32_t next = p->depth_multiplier == 1 ? 1 : 0;
  const int32_t together = next != 0 ? output_channels : p->depth_multiplier;
  struct taps taps = {
      .input_step = p->dilation_width * p->input_channels,
      .weight_step = output_channels,
      .input_offset = TFLASH_INPUT_OFFSET(p),
      .weights = p->weights,
  };

  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t y = 0; y < p->output_height; ++y) {
      const int32_t y_origin = y * p->stride_height - p->pad_top;
      const int32_t fy_first = tflash_first_tap(y_origin, p->dilation_height);
      const int32_t y_first = y_origin + fy_first * p->dilation_height;
      const int32_t rows = tflash_end_tap(y_origin, p->dilation_height, p->filter_height, p->input_height) - fy_first;
      for (int32_t x = 0; x < p->output_width; ++x) {
        const int32_t x_origin = x * p->stride_width - p->pad_left;
        const int32_t fx_first = tflash_first_tap(x_origin, p->dilation_width);
        const int32_t x_first = x_origin + fx_first * p->dilation_width;
        taps.columns = tflash_end_tap(x_origin, p->dilation_width, p->filter_width, p->input_width) - fx_first;
        const int inside = rows > 0 && taps.columns > 0;
        taps.rows = inside ? rows : 0;
        taps.input_skip = p->dilation_height * image_row - taps.columns * taps.input_step;
        taps.weight_skip = (p->filter_width - taps.columns) * output_channels;
        const TFLASH_CODE *in = input + (inside ? y_first * image_row + x_first * p->input_channels : 0);
        tflash_weight_cursor weight = TFLASH_FIRST_WEIGHT(p->weights) +
                                      (inside ? (fy_first * p->filter_width + fx_first) * output_channels : 0);

        for (int32_t o = 0; o < output_channels;) {
          const int32_t end = o + together;
          while (o < end) {
            int32_t sums[TFLASH_MOST_SUMS];
            const int32_t count = end - o < TFLASH_MOST_SUMS ? end - o : TFLASH_MOST_SUMS;
            const int32_t *from = TFLASH_START(p, o);
            if (from == NULL) {
              from = memset(sums, 0, sizeof sums);
            }
            for (int32_t k = 0; k < count;) {
              if (count - k < 4) {
                add_one(&taps, in, weight, from + k, sums + k);
                k += 1;
                weight += 1;
                in += next;
              } else if (next != 0) {
                add_neighbours(&taps, in, weight, from + k, sums + k);
                k += 4;
                weight += 4;
                in += 4;
              } else {
                add_shared(&taps, in, weight, from + k, sums + k);
                k += 4;
                weight += 4;
              }
            }
            requantize(p, sums, o, count, output);
            output += count;
            o += count;
          }
          in += 1 - next;
        }
      }
    }
    input += p->input_height * image_row;
  }
}

#endif /* TFLASH_DEPTHWISE_CONV_2D_BODY_H */
