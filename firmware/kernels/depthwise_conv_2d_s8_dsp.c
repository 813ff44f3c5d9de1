/* 2-D depthwise convolution, int8 in, int8 out, for cores with SMLAD; any filter, stride, padding and depth multiplier.
 *   o = i * depth_multiplier + m
 *   output[b][y][x][o] = clamp(requant(bias[o] + sum input[b][y'][x'][i] * 2 * weights[o][fy][fx]))
 *   y' = y * stride_height - pad_top + fy, x' likewise; outside the input lies its zero point
 *   input    [batches][input_height][input_width][input_channels]                       int8
 *   weights  [input_channels * depth_multiplier][filter_height][filter_width]           int8
 *   bias     [input_channels * depth_multiplier] int32, twice (bias - zero point * sum of the channel's weights)
 *   multipliers, codes  [input_channels * depth_multiplier], as tflash_requantize_twice (dsp.h) wants them
 *   output   [batches][output_height][output_width][input_channels * depth_multiplier]  int8
 * Bit-exact with: TFLM's DEPTHWISE_CONV_2D reference kernel (double rounding).
 * Overflow: partial sums may wrap around; aot/packing.py proves that the whole, doubled, is an int32.
 * Scratch: one channel of the input with its padding as int16 (a plane), and a filter of int16 pairs.
 * The output may be the input where depth_multiplier is 1 and it is not larger: a channel is read as a whole before it
 * is written, and each channel has its own bytes modulo the number of channels.
 *
 * A plane turns neighbours in a row into neighbours in memory, so that SMLAD takes two taps at once. A 3 x 3 filter
 * stays in registers, and two outputs of a row share their loads: 3 loads and 12 multiplications for 18 products. All
 * loads are aligned words, each one cycle in a row of them on a Cortex-M4. */
#include "depthwise_conv_2d_s8_dsp.h"

#include "dsp.h"

/* What a channel's sums become codes with; rounding is used for right shifts only. */
struct channel {
  int32_t bias;
  int32_t multiplier;
  int32_t code;
  int32_t rounding;
  int32_t doubled_zero;
  int32_t step; /* of the output, from one pixel to the next */
};

static inline int8_t requantize_right(int32_t twice, const struct channel *c) {
  return (int8_t)tflash_ssat8_half(tflash_smmlar(twice, c->multiplier, c->rounding + (twice >> 31)) >> c->code);
}

static uint32_t pair(int32_t bottom, int32_t top) {
  return ((uint32_t)bottom & 0xFFFFu) | (uint32_t)top << 16;
}

/* The three rows of a 3 x 3 filter, doubled: taps (0, 1) and (1, 2). */
struct filter_3x3 {
  uint32_t left[3];
  uint32_t right[3];
};

static struct filter_3x3 filter_3x3(const int8_t *w) {
  struct filter_3x3 f;
  for (int32_t row = 0; row < 3; ++row) {
    f.left[row] = pair(2 * w[0], 2 * w[1]);
    f.right[row] = pair(2 * w[1], 2 * w[2]);
    w += 3;
  }
  return f;
}

/* A row of outputs, 3 x 3, stride 1. row: the first of the plane's three rows, width: words of a row. */
static inline int8_t *row_3x3(const struct filter_3x3 *f, const struct channel *c, const uint32_t *row, int32_t width,
                              int32_t outputs, int8_t *output) {
  uint32_t a0 = row[0];
  uint32_t a1 = row[width];
  uint32_t a2 = row[2 * width];
  ++row;
  for (; outputs >= 2; outputs -= 2) {
    const uint32_t b0 = row[0];
    const uint32_t b1 = row[width];
    const uint32_t b2 = row[2 * width];
    ++row;
    int32_t first = tflash_smlad(a0, f->left[0], c->bias);
    int32_t second = tflash_smlatb(a0, f->left[0], c->bias);
    first = tflash_smlabt(b0, f->right[0], first);
    second = tflash_smlad(b0, f->right[0], second);
    first = tflash_smlad(a1, f->left[1], first);
    second = tflash_smlatb(a1, f->left[1], second);
    first = tflash_smlabt(b1, f->right[1], first);
    second = tflash_smlad(b1, f->right[1], second);
    first = tflash_smlad(a2, f->left[2], first);
    second = tflash_smlatb(a2, f->left[2], second);
    first = tflash_smlabt(b2, f->right[2], first);
    second = tflash_smlad(b2, f->right[2], second);
    output[0] = requantize_right(first, c);
    output[c->step] = requantize_right(second, c);
    output += 2 * c->step;
    a0 = b0;
    a1 = b1;
    a2 = b2;
  }
  if (outputs > 0) {
    int32_t acc = tflash_smlad(a0, f->left[0], c->bias);
    acc = tflash_smlabt(row[0], f->right[0], acc);
    acc = tflash_smlad(a1, f->left[1], acc);
    acc = tflash_smlabt(row[width], f->right[1], acc);
    acc = tflash_smlad(a2, f->left[2], acc);
    acc = tflash_smlabt(row[2 * width], f->right[2], acc);
    *output = requantize_right(acc, c);
    output += c->step;
  }
  return output;
}

/* The same at a stride of 2: one output for each word. */
static inline int8_t *row_3x3_by_2(const struct filter_3x3 *f, const struct channel *c, const uint32_t *row,
                                   int32_t width, int32_t outputs, int8_t *output) {
  uint32_t a0 = row[0];
  uint32_t a1 = row[width];
  uint32_t a2 = row[2 * width];
  for (; outputs > 0; --outputs) {
    ++row;
    const uint32_t b0 = row[0];
    const uint32_t b1 = row[width];
    const uint32_t b2 = row[2 * width];
    int32_t acc = tflash_smlad(a0, f->left[0], c->bias);
    acc = tflash_smlabt(b0, f->right[0], acc);
    acc = tflash_smlad(a1, f->left[1], acc);
    acc = tflash_smlabt(b1, f->right[1], acc);
    acc = tflash_smlad(a2, f->left[2], acc);
    acc = tflash_smlabt(b2, f->right[2], acc);
    *output = requantize_right(acc, c);
    output += c->step;
    a0 = b0;
    a1 = b1;
    a2 = b2;
  }
  return output;
}

/* The outputs of a channel, any filter and stride: two taps at once, an odd last one with a weight of 0 beside it. */
static void channel_of_any(const struct tflash_depthwise_conv_2d_s8_dsp_params *p, const struct channel *c,
                           const int8_t *weights, const int16_t *plane, uint32_t *filter, int8_t *output) {
  const int32_t pairs = (p->filter_width + 1) >> 1;
  uint32_t *f = filter;
  for (int32_t fy = 0; fy < p->filter_height; ++fy) {
    for (int32_t fx = 0; fx < p->filter_width; fx += 2) {
      *f++ = pair(2 * weights[fx], fx + 1 < p->filter_width ? 2 * weights[fx + 1] : 0);
    }
    weights += p->filter_width;
  }
  for (int32_t y = 0; y < p->output_height; ++y) {
    const int16_t *window = plane + y * p->stride_height * p->plane_width;
    for (int32_t x = 0; x < p->output_width; ++x) {
      const int16_t *row = window;
      int32_t acc = c->bias;
      f = filter;
      for (int32_t fy = 0; fy < p->filter_height; ++fy) {
        for (int32_t i = 0; i < pairs; ++i) {
          acc = tflash_smlad(tflash_load_word(row + 2 * i), *f++, acc);
        }
        row += p->plane_width;
      }
      *output = tflash_requantize_twice(acc, c->multiplier, c->code, c->doubled_zero);
      output += c->step;
      window += p->stride_width;
    }
  }
}

static void channel_of_3x3(const struct tflash_depthwise_conv_2d_s8_dsp_params *p, const struct channel *c,
                           const int8_t *weights, const uint32_t *plane, int8_t *output) {
  const struct filter_3x3 f = filter_3x3(weights);
  const struct channel copy = *c;
  const int32_t width = p->plane_width >> 1;
  if (p->stride_width == 1) {
    for (int32_t y = 0; y < p->output_height; ++y) {
      output = row_3x3(&f, &copy, plane, width, p->output_width, output);
      plane += p->stride_height * width;
    }
  } else {
    for (int32_t y = 0; y < p->output_height; ++y) {
      output = row_3x3_by_2(&f, &copy, plane, width, p->output_width, output);
      plane += p->stride_height * width;
    }
  }
}

/* One channel of the input into the inside of the plane. */
static void gather(const struct tflash_depthwise_conv_2d_s8_dsp_params *p, const int8_t *input, int16_t *plane) {
  const int32_t rows_left = p->plane_height - p->pad_top;
  const int32_t columns_left = p->plane_width - p->pad_left;
  const int32_t rows = rows_left < p->input_height ? rows_left : p->input_height;
  const int32_t columns = columns_left < p->input_width ? columns_left : p->input_width;
  const int32_t step = p->input_channels;
  plane += p->pad_top * p->plane_width + p->pad_left;
  for (int32_t y = 0; y < rows; ++y) {
    const int8_t *from = input;
    int16_t *to = plane;
    int32_t left = columns;
    for (; left >= 4; left -= 4) {
      to[0] = from[0];
      to[1] = from[step];
      from += 2 * step;
      to[2] = from[0];
      to[3] = from[step];
      from += 2 * step;
      to += 4;
    }
    for (; left > 0; --left) {
      *to++ = *from;
      from += step;
    }
    input += p->input_width * step;
    plane += p->plane_width;
  }
}

void tflash_depthwise_conv_2d_s8_dsp(const struct tflash_depthwise_conv_2d_s8_dsp_params *p, const int8_t *input,
                                     int8_t *output) {
  const int32_t channels = p->input_channels * p->depth_multiplier;
  const int32_t filter_size = p->filter_height * p->filter_width;
  const int32_t plane_words = p->plane_height * p->plane_width >> 1;
  uint32_t *plane = (uint32_t *)p->scratch;
  const int32_t is_3x3 = p->filter_height == 3 && p->filter_width == 3 && p->stride_width <= 2;

  for (int32_t i = 0; i <= plane_words; ++i) { /* one more, which an odd last tap reads */
    plane[i] = pair(p->pad_code, p->pad_code);
  }
  for (int32_t b = 0; b < p->batches; ++b) {
    int32_t o = 0;
    for (int32_t i = 0; i < p->input_channels; ++i) {
      gather(p, input + i, (int16_t *)(void *)plane);
      for (int32_t m = 0; m < p->depth_multiplier; ++m) {
        const int32_t code = p->codes[o];
        const struct channel channel = {
            .bias = p->bias[o],
            .multiplier = p->multipliers[o],
            .code = code,
            .rounding = code < 0 ? 0 : (int32_t)((uint32_t)(int32_t)p->doubled_zero << code),
            .doubled_zero = p->doubled_zero,
            .step = channels,
        };
        if (is_3x3 && code >= 0) {
          channel_of_3x3(p, &channel, p->weights + o * filter_size, plane, output + o);
        } else {
          channel_of_any(p, &channel, p->weights + o * filter_size, (const int16_t *)(const void *)plane,
                         plane + plane_words + 1, output + o);
        }
        ++o;
      }
    }
    input += p->input_height * p->input_width * p->input_channels;
    output += p->output_height * p->output_width * channels;
  }
  const int32_t codes = p->batches * p->output_height * p->output_width * channels;
  tflash_clamp_codes(output - codes, codes, p->activation_min, p->activation_max);
}
