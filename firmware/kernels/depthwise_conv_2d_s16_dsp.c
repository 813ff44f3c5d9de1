/* 2-D depthwise convolution, int16 in, int16 out, for cores with SMLAD: four channels at once.
 * The formula, input and output are those of depthwise_conv_2d_s16.c; depth_multiplier is 1, channels a multiple of 4.
 *   weights  [filter_height][filter_width][channels]  int8, of each four the third before the second
 *   bias     [channels]  int32
 *   multipliers, shifts  [channels], as tflash_requantize_narrow wants them (dsp.h)
 * A tap of four channels takes 13 instructions: three loads, two that widen the weights, four products.
 * Bit-exact with: TFLM's DEPTHWISE_CONV_2D reference kernel (one rounding).
 * Overflow: aot/packing.py proves for each layer that the sums are int32.
 * Scratch: none. Outputs are computed position by position, so that they may overlap the input: aot/ops/overlap.py says
 * how far. */
#include "depthwise_conv_2d_s16_dsp.h"

#include "dsp.h"
#include "requant.h"
#include "window.h"

/* The taps of one output position that lie inside the input, and what is between the end of a row and the next. */
struct taps {
  int32_t rows;
  int32_t columns;
  int32_t code_column;
  int32_t code_gap;
  int32_t weight_column;
  int32_t weight_gap;
};

/* Adds to the sums of four channels their products with all taps. */
__attribute__((noinline)) static void add_products(const struct taps *taps, const int16_t *codes,
                                                   const int8_t *weights, int32_t sums[4]) {
  int32_t sum0 = sums[0];
  int32_t sum1 = sums[1];
  int32_t sum2 = sums[2];
  int32_t sum3 = sums[3];
  for (int32_t rows = taps->rows; rows > 0; --rows) {
    int32_t left = taps->columns;
#ifdef TFLASH_DSP_ASM
    uint32_t low;
    uint32_t high;
    uint32_t pair;
    __asm volatile(
        "1:\n"
        "ldr %[high], [%[weights]]\n"
        "ldr %[low], [%[codes]]\n"
        "add %[weights], %[weights], %[weight_column]\n"
        "sxtb16 %[pair], %[high]\n"
        "smlabb %[sum0], %[low], %[pair], %[sum0]\n"
        "smlatt %[sum1], %[low], %[pair], %[sum1]\n"
        "sxtb16 %[pair], %[high], ror #8\n"
        "ldr %[high], [%[codes], #4]\n"
        "add %[codes], %[codes], %[code_column]\n"
        "subs %[left], %[left], #1\n"
        "smlabb %[sum2], %[high], %[pair], %[sum2]\n"
        "smlatt %[sum3], %[high], %[pair], %[sum3]\n"
        "bne 1b"
        : [codes] "+r"(codes), [weights] "+r"(weights), [left] "+r"(left), [sum0] "+r"(sum0), [sum1] "+r"(sum1),
          [sum2] "+r"(sum2), [sum3] "+r"(sum3), [low] "=&r"(low), [high] "=&r"(high), [pair] "=&r"(pair)
        : [code_column] "r"(2 * taps->code_column), [weight_column] "r"(taps->weight_column)
        : "cc", "memory");
#else
    do {
      const uint32_t four = tflash_load_word(weights);
      const uint32_t low = tflash_load_word(codes);
      const uint32_t high = tflash_load_word(codes + 2);
      sum0 = tflash_smlabb(low, tflash_sxtb16(four), sum0);
      sum1 = tflash_smlatt(low, tflash_sxtb16(four), sum1);
      sum2 = tflash_smlabb(high, tflash_sxtb16_odd(four), sum2);
      sum3 = tflash_smlatt(high, tflash_sxtb16_odd(four), sum3);
      codes += taps->code_column;
      weights += taps->weight_column;
    } while (--left != 0);
#endif
    codes += taps->code_gap;
    weights += taps->weight_gap;
  }
  sums[0] = sum0;
  sums[1] = sum1;
  sums[2] = sum2;
  sums[3] = sum3;
}

/* The outputs of one position. */
__attribute__((noinline)) static void position(const struct tflash_depthwise_conv_2d_s16_dsp_params *p,
                                               const struct taps *taps, const int16_t *codes, const int8_t *weights,
                                               int16_t *output) {
  const int32_t *bias = p->bias;
  const int16_t *multipliers = p->multipliers;
  const int8_t *shifts = p->shifts;
  for (int32_t left = p->channels; left > 0; left -= 4) {
    int32_t sums[4] = {bias[0], bias[1], bias[2], bias[3]};
    add_products(taps, codes, weights, sums);
    for (int32_t i = 0; i < 4; ++i) {
      const int32_t code = tflash_requantize_narrow(sums[i], *multipliers++, *shifts++);
      *output++ = (int16_t)tflash_clamp(code, p->activation_min, p->activation_max);
    }
    bias += 4;
    codes += 4;
    weights += 4;
  }
}

void tflash_depthwise_conv_2d_s16_dsp(const struct tflash_depthwise_conv_2d_s16_dsp_params *p, const int16_t *input,
                                      int16_t *output) {
  const int32_t channels = p->channels;
  const int32_t input_row = p->input_width * channels;
  for (int32_t b = 0; b < p->batches; ++b) {
    for (int32_t y = 0; y < p->output_height; ++y) {
      const int32_t y_origin = y * p->stride_height - p->pad_top;
      const int32_t fy_first = tflash_first_tap(y_origin, p->dilation_height);
      const int32_t rows = tflash_end_tap(y_origin, p->dilation_height, p->filter_height, p->input_height) - fy_first;
      for (int32_t x = 0; x < p->output_width; ++x) {
        const int32_t x_origin = x * p->stride_width - p->pad_left;
        const int32_t fx_first = tflash_first_tap(x_origin, p->dilation_width);
        const int32_t columns = tflash_end_tap(x_origin, p->dilation_width, p->filter_width, p->input_width) - fx_first;
        const struct taps taps = {
            .rows = columns > 0 ? rows : 0,
            .columns = columns,
            .code_column = p->dilation_width * channels,
            .code_gap = p->dilation_height * input_row - columns * p->dilation_width * channels,
            .weight_column = channels,
            .weight_gap = (p->filter_width - columns) * channels,
        };
        const int32_t inside = taps.rows > 0;
        const int32_t y_first = inside ? y_origin + fy_first * p->dilation_height : 0;
        const int32_t x_first = inside ? x_origin + fx_first * p->dilation_width : 0;
        const int32_t tap = inside ? fy_first * p->filter_width + fx_first : 0;
        position(p, &taps, input + y_first * input_row + x_first * channels, p->weights + tap * channels, output);
        output += channels;
      }
    }
    input += p->input_height * input_row;
  }
}
