/* The loops of conv_2d_s16_dsp.c and conv_2d_s16_mve.c, which hold the contract: two pixels by two channels at a time.
 * They say how many weights are stored of a filter of so many, TFLASH_STORED, and how such tiles are multiplied:
 *   add_products(weights of two channels, patches of two pixels, stored weights of a channel, sums)
 * adds to the sums (pixel 0, channel 0), (0, 1), (1, 0), (1, 1) their products. */
#ifndef TFLASH_CONV_2D_S16_TILES_BODY_H
#define TFLASH_CONV_2D_S16_TILES_BODY_H

#include <stddef.h>

#include "conv_2d_s16_tiles.h"
#include "dsp.h"
#include "requant.h"

/* The outputs of two pixels, or of the first alone. */
__attribute__((noinline)) static void run_pixels(const struct tflash_conv_2d_s16_tiles *p,
                                                 const int16_t *const patches[2], int32_t depth, int32_t pixels,
                                                 int16_t *output) {
  const int8_t *weights = p->weights;
  for (int32_t o = 0; o < p->output_channels; o += 2) {
    int32_t sums[4] = {p->bias[o], p->bias[o + 1], p->bias[o], p->bias[o + 1]};
    add_products(weights, patches, depth, sums);
    weights += 2 * depth;
    const int32_t channels = p->output_channels - o < 2 ? 1 : 2;
    for (int32_t channel = 0; channel < channels; ++channel) {
      const int32_t multiplier = p->multipliers[o + channel];
      const int32_t shift = p->shifts[o + channel];
      int16_t *at = output + o + channel;
      for (int32_t pixel = 0; pixel < pixels; ++pixel) {
        const int32_t code = tflash_requantize_narrow(sums[2 * pixel + channel], multiplier, shift);
        *at = (int16_t)tflash_clamp(code, p->activation_min, p->activation_max);
        at += p->output_channels;
      }
    }
  }
}

static int32_t limited(int32_t value, int32_t high) {
  return value < 0 ? 0 : (value > high ? high : value);
}

/* Codes, or zeros, to a patch; returns its next place. */
static int16_t *put(int16_t *patch, const int16_t *codes, int32_t count) {
  for (int32_t i = 0; i < count; ++i) {
    *patch++ = codes != NULL ? codes[i] : 0;
  }
  return patch;
}

/* What the filter sees at one output position, tap after tap. */
static void gather(const struct tflash_conv_2d_s16_tiles *p, const int16_t *input, int32_t y, int32_t x,
                   int16_t *patch) {
  const int32_t depth = p->input_channels;
  const int32_t row = p->filter_width * depth;
  const int32_t first = limited(-x, p->filter_width); /* without a dilation, of the taps inside the input */
  const int32_t end = limited(p->input_width - x, p->filter_width);
  for (int32_t fy = 0; fy < p->filter_height; ++fy) {
    const int16_t *const line = input + limited(y, p->input_height - 1) * p->input_width * depth;
    if (y < 0 || y >= p->input_height) {
      patch = put(patch, NULL, row);
    } else if (p->dilation_width == 1) {
      patch = put(patch, NULL, first * depth);
      patch = put(patch, line + limited(x, p->input_width) * depth, (end - first) * depth);
      patch = put(patch, NULL, row - end * depth);
    } else {
      int32_t column = x;
      for (int32_t fx = 0; fx < p->filter_width; ++fx) {
        patch = put(patch, column < 0 || column >= p->input_width ? NULL : line + column * depth, depth);
        column += p->dilation_width;
      }
    }
    y += p->dilation_height;
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
