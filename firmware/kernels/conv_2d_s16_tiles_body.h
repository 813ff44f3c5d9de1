/* The loops of conv_2d_s16_dsp.c and conv_2d_s16_mve.c, which hold the contract: two pixels by two channels at a time.
 * They say how many weights are stored of a filter of so many, TFLASH_STORED, and how such tiles are multiplied:
 *   add_products(weights of two channels, patches of two pixels, stored weights of a channel, sums)
 * adds to the sums (pixel 0, channel 0), (0, 1), (1, 0), (1, 1) their products. */
#ifndef TFLASH_CONV_2D_S16_TILES_BODY_H
#define TFLASH_CONV_2D_S16_TILES_BODY_H

#include <stddef.h>
#include <string.h>

#include "conv_2d_s16_tiles.h"
#include "dsp.h"
#include "requant.h"

static inline int16_t finished(const struct tflash_conv_2d_s16_tiles *p, int32_t sum, int32_t o) {
  const int32_t code = tflash_requantize_narrow(sum, p->multipliers[o], p->shifts[o]);
  return (int16_t)tflash_clamp(code, p->activation_min, p->activation_max);
}

/* The outputs of two pixels, or of the first alone. */
__attribute__((noinline)) static void run_pixels(const struct tflash_conv_2d_s16_tiles *p,
                                                 const int16_t *const patches[2], int32_t depth, int32_t pixels,
                                                 int16_t *output) {
  const int32_t channels = p->output_channels;
  const int8_t *weights = p->weights;
  for (int32_t o = 0; o < channels; o += 2) {
    const int32_t both = channels - o > 1;
    int32_t sums[4] = {p->bias[o], p->bias[o + 1], p->bias[o], p->bias[o + 1]};
    add_products(weights, patches, depth, sums);
    weights += 2 * depth;
    output[0] = finished(p, sums[0], o);
    if (both) {
      output[1] = finished(p, sums[1], o + 1);
    }
    if (pixels > 1) {
      output[channels] = finished(p, sums[2], o);
      if (both) {
        output[channels + 1] = finished(p, sums[3], o + 1);
      }
    }
    output += 2;
  }
}

static int32_t limited(int32_t value, int32_t high) {
  return value < 0 ? 0 : (value > high ? high : value);
}

static void copy(int16_t *to, const int16_t *from, int32_t count) {
  for (; count >= 2; count -= 2) {
    tflash_store_word(to, tflash_load_word(from));
    to += 2;
    from += 2;
  }
  if (count > 0) {
    *to = *from;
  }
}

/* What the filter sees at one output position, tap after tap. */
static void gather(const struct tflash_conv_2d_s16_tiles *p, const int16_t *input, int32_t y, int32_t x,
                   int16_t *patch) {
  const int32_t depth = p->input_channels;
  const int32_t row = p->filter_width * depth;
  /* Taps of a row that are neighbours make one run; those inside the input: first..end. */
  const int32_t dense = p->dilation_width == 1;
  const int32_t first = dense ? limited(-x, p->filter_width) : 0;
  const int32_t end = dense ? limited(p->input_width - x, p->filter_width) : p->filter_width;
  const int32_t last_y = y + (p->filter_height - 1) * p->dilation_height;
  if (y < 0 || last_y >= p->input_height || end - first < p->filter_width || !dense) {
    memset(patch, 0, sizeof *patch * (size_t)(p->filter_height * row));
  }
  for (; y <= last_y; y += p->dilation_height) {
    if (y >= 0 && y < p->input_height) {
      const int16_t *const line = input + y * p->input_width * depth;
      if (dense) {
        copy(patch + first * depth, line + limited(x, p->input_width) * depth, (end - first) * depth);
      } else {
        int32_t column = x;
        for (int32_t fx = 0; fx < p->filter_width; ++fx) {
          if (column >= 0 && column < p->input_width) {
            copy(patch + fx * depth, line + column * depth, depth);
          }
          column += p->dilation_width;
        }
      }
    }
    patch += row;
  }
}

static void run(const struct tflash_conv_2d_s16_tiles *p, const int16_t *input, int16_t *output) {
  const int32_t depth = TFLASH_STORED(p->filter_height * p->filter_width * p->input_channels);
  const int16_t *patches[2] = {input, input};
  int32_t pixels = 0;
  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t oy = 0; oy < p->output_height; ++oy) {
      const int32_t y = oy * p->stride_height - p->pad_top;
      int32_t x = -p->pad_left;
      for (int32_t ox = 0; ox < p->output_width; ++ox) {
        if (p->scratch == NULL) {
          patches[pixels] = input + (y * p->input_width + x) * p->input_channels;
        } else {
          int16_t *const patch = p->scratch + depth * pixels;
          gather(p, input, y, x, patch);
          patches[pixels] = patch;
        }
        if (++pixels == 2) {
          run_pixels(p, patches, depth, 2, output);
          output += 2 * p->output_channels;
          pixels = 0;
        }
        x += p->stride_width;
      }
    }
    input += p->input_height * p->input_width * p->input_channels;
  }
  if (pixels > 0) {
    patches[1] = patches[0];
    run_pixels(p, patches, depth, 1, output);
  }
}

#endif /* TFLASH_CONV_2D_S16_TILES_BODY_H */
