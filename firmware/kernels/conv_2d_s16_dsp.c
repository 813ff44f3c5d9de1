/* 2-D convolution, int16 in, int16 out, for cores with SMLAD; any filter, stride, padding and dilation, no groups.
 * The formula, input and output are those of conv_2d_s16.c.
 *   weights  int8, depth = filter size rounded up to 4 with zeros; of two channels a word of four each in turn, the third
 *            of each four before the second; an odd last channel has one of zeros beside it
 *   bias, multipliers, shifts  [output_channels, made even], as tflash_requantize_narrow wants them (dsp.h); bias int32
 * Two pixels by two channels stay in registers: 8 SMLAD, 4 SXTB16 and 6 loads for 16 products. What a filter sees of the
 * input is gathered first, with zeros for the padding, but for a filter of 1 x 1, which reads it where it lies.
 * Bit-exact with: TFLM's CONV_2D reference kernel (one rounding).
 * Overflow: partial sums may wrap around; aot/packing.py proves that the whole is an int32.
 * Scratch: two patches of depth int16.
 * Two outputs at a time are computed in order, so that they may overlap the input: aot/ops/overlap.py says how far. */
#include "conv_2d_s16_dsp.h"

#include <stddef.h>

#include "dsp.h"
#include "requant.h"

/* Adds to the sums (pixel 0, channel 0), (0, 1), (1, 0), (1, 1) their products. */
__attribute__((noinline)) static void add_products(const int8_t *weights, const int16_t *const patches[2],
                                                   int32_t groups, int32_t sums[4]) {
  const int16_t *first = patches[0];
  const int16_t *second = patches[1];
#ifdef TFLASH_DSP_ASM
  uint32_t even;
  uint32_t odd;
  uint32_t pair;
  uint32_t x;
  uint32_t y;
  __asm volatile(
      "1:\n"
      "ldr %[even], [%[weights]], #4\n"
      "ldr %[x], [%[first]], #4\n"
      "ldr %[y], [%[second]], #4\n"
      "ldr %[odd], [%[weights]], #4\n"
      "sxtb16 %[pair], %[even]\n"
      "smlad %[sum0], %[x], %[pair], %[sum0]\n"
      "smlad %[sum2], %[y], %[pair], %[sum2]\n"
      "sxtb16 %[pair], %[odd]\n"
      "smlad %[sum1], %[x], %[pair], %[sum1]\n"
      "ldr %[x], [%[first]], #4\n"
      "smlad %[sum3], %[y], %[pair], %[sum3]\n"
      "ldr %[y], [%[second]], #4\n"
      "sxtb16 %[even], %[even], ror #8\n"
      "sxtb16 %[odd], %[odd], ror #8\n"
      "subs %[groups], %[groups], #1\n"
      "smlad %[sum0], %[x], %[even], %[sum0]\n"
      "smlad %[sum2], %[y], %[even], %[sum2]\n"
      "smlad %[sum1], %[x], %[odd], %[sum1]\n"
      "smlad %[sum3], %[y], %[odd], %[sum3]\n"
      "bne 1b"
      : [weights] "+r"(weights), [first] "+r"(first), [second] "+r"(second), [groups] "+r"(groups),
        [sum0] "+r"(sums[0]), [sum1] "+r"(sums[1]), [sum2] "+r"(sums[2]), [sum3] "+r"(sums[3]), [even] "=&r"(even),
        [odd] "=&r"(odd), [pair] "=&r"(pair), [x] "=&r"(x), [y] "=&r"(y)
      :
      : "cc", "memory");
#else
  for (; groups > 0; --groups) {
    for (int32_t channel = 0; channel < 2; ++channel) {
      const uint32_t four = tflash_load_word(weights + 4 * channel);
      for (int32_t pixel = 0; pixel < 2; ++pixel) {
        const int16_t *codes = pixel == 0 ? first : second;
        int32_t *sum = &sums[2 * pixel + channel];
        *sum = tflash_smlad(tflash_load_word(codes), tflash_sxtb16(four), *sum);
        *sum = tflash_smlad(tflash_load_word(codes + 2), tflash_sxtb16_odd(four), *sum);
      }
    }
    weights += 8;
    first += 4;
    second += 4;
  }
#endif
}

/* The outputs of two pixels, or of the first alone. */
__attribute__((noinline)) static void run_pixels(const struct tflash_conv_2d_s16_dsp_params *p,
                                                 const int16_t *const patches[2], int32_t groups, int32_t pixels,
                                                 int16_t *output) {
  const int8_t *weights = p->weights;
  for (int32_t o = 0; o < p->output_channels; o += 2) {
    int32_t sums[4] = {p->bias[o], p->bias[o + 1], p->bias[o], p->bias[o + 1]};
    add_products(weights, patches, groups, sums);
    weights += 8 * groups;
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
static void gather(const struct tflash_conv_2d_s16_dsp_params *p, const int16_t *input, int32_t y, int32_t x,
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

void tflash_conv_2d_s16_dsp(const struct tflash_conv_2d_s16_dsp_params *p, const int16_t *input, int16_t *output) {
  const int32_t groups = (p->filter_height * p->filter_width * p->input_channels + 3) / 4;
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
          int16_t *const patch = p->scratch + 4 * groups * pixels;
          gather(p, input, y, x, patch);
          patches[pixels] = patch;
        }
        if (++pixels == 2) {
          run_pixels(p, patches, groups, 2, output);
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
    run_pixels(p, patches, groups, 1, output);
  }
}
