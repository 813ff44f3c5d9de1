/* 2-D depthwise convolution, int8 in, int8 out, for cores with SMLAD; any filter, stride, padding and depth multiplier.
 *   o = i * depth_multiplier + m
 *   output[b][y][x][o] = clamp(requant(bias[o] + sum input[b][y'][x'][i] * 2 * weights[o][fy][fx]))
 *   y' = y * stride_height - pad_top + fy, x' likewise; outside the input lies its zero point
 *   input    [batches][height][width][input_channels]                       int8
 *   weights  [input_channels * depth_multiplier][filter_lines][filter_positions]  int8
 *   bias     [input_channels * depth_multiplier] int32, twice (bias - zero point * sum of the channel's weights)
 *   multipliers, codes  [input_channels * depth_multiplier], as tflash_requantize_twice wants them, codes in nibbles
 *            (dsp.h)
 *   output   [batches][height][width][input_channels * depth_multiplier]  int8
 * Lines and their positions are rows and columns, or columns and rows: whichever way there are more outputs in a line.
 * Bit-exact with: TFLM's DEPTHWISE_CONV_2D reference kernel (double rounding).
 * Overflow: partial sums may wrap around; aot/packing.py proves that the whole, doubled, is an int32.
 * Scratch: two channels of the input with their padding as int16 (planes), and a filter of int16 pairs.
 * The output may be the input where depth_multiplier is 1 and it is not larger: channels are read as a whole before they
 * are written, and each channel has its own bytes modulo the number of channels.
 *
 * In a plane the positions of a line are neighbours, so that SMLAD takes two taps at once. With a 3 x 3 filter two
 * outputs share their loads: 36 instructions, 18 products. On a Cortex-M4 the loads are of one cycle in a row of them
 * and of two else, all words aligned; the loops are 150 and 110 bytes. On a Cortex-M7 loads pair with SMLAD. */
#include "depthwise_conv_2d_s8_dsp.h"

#include <stddef.h>

#include "dsp.h"

/* One channel of outputs, 3 x 3. The assembly knows the order of the fields. */
struct channel_3x3 {
  const uint32_t *plane;
  int32_t line_bytes; /* of the plane */
  int8_t *output;
  int32_t output_position_step;
  int32_t turns; /* at a stride of 1 pairs of outputs in a line, else outputs */
  int32_t code;  /* of a right shift */
  uint32_t filter[3][2]; /* doubled taps (0, 1) and (1, 2) of a line */
  int32_t multiplier;
  int32_t rounding; /* doubled_zero << code */
  int32_t bias;
  int32_t odd; /* 1: there is one output more than pairs */
  int32_t lines;
  int32_t plane_step; /* bytes from the first line of one line of outputs to that of the next */
  int32_t output_line_step;
};

#ifdef TFLASH_DSP_ASM

#define ENTER                \
  "push {r4-r11, lr}\n"      \
  "sub sp, sp, #76\n"        \
  "ldm r0!, {r1-r10}\n"      \
  "stm sp, {r1-r10}\n"       \
  "ldm r0, {r1-r9}\n"        \
  "add r12, sp, #40\n"       \
  "stm r12, {r1-r9}\n"

/* r0: plane, r1: line_bytes, r2: output, r3: output_position_step, r4: turns, r5: code, r6..r8: a word of each line. */
#define BEGIN_LINE           \
  "ldm sp, {r0-r5}\n"        \
  "ldr r9, [sp, #68]\n"      \
  "add r9, r9, r0\n"         \
  "str r9, [sp]\n"           \
  "ldr r9, [sp, #72]\n"      \
  "add r9, r9, r2\n"         \
  "str r9, [sp, #8]\n"       \
  "ldr r7, [r0, r1]\n"       \
  "ldr r8, [r0, r1, lsl #1]\n" \
  "ldr r6, [r0], #4\n"

#define END_LINE             \
  "ldr r4, [sp, #64]\n"      \
  "subs r4, r4, #1\n"        \
  "str r4, [sp, #64]\n"      \
  "bne 1b\n"                 \
  "add sp, sp, #76\n"        \
  "pop {r4-r11, pc}\n"

/* To an int8 in r9; r10 is the multiplier, r11 the rounding. */
#define REQUANTIZE(acc)               \
  "add r9, r11, " acc ", asr #31\n"   \
  "smmlar r9, " acc ", r10, r9\n"     \
  "asr r9, r9, r5\n"                  \
  "ssat r9, #8, r9, asr #1\n"

/* A line of the filter for two outputs, the sums before them in r12 and lr. */
#define TWO_OUTPUTS(a, next, filter, sum)  \
  "ldrd r10, r11, [sp, #" filter "]\n"     \
  "ldr r9, " next "\n"                     \
  "smlatb lr, " a ", r10, " sum "\n"       \
  "smlad r12, " a ", r10, r12\n"           \
  "smlad lr, r9, r11, lr\n"                \
  "smlabt r12, r9, r11, r12\n"             \
  "mov " a ", r9\n"

__attribute__((naked, noinline)) static void run_3x3(__attribute__((unused)) const struct channel_3x3 *c) {
  __asm(
      ENTER
      "1:\n"
      BEGIN_LINE
      "cmp r4, #0\n"
      "beq 3f\n"
      "2:\n"
      "ldr r12, [sp, #56]\n"
      TWO_OUTPUTS("r7", "[r0, r1]", "32", "r12")
      TWO_OUTPUTS("r8", "[r0, r1, lsl #1]", "40", "lr")
      TWO_OUTPUTS("r6", "[r0], #4", "24", "lr")
      "ldrd r10, r11, [sp, #48]\n"
      REQUANTIZE("lr")
      "strb r9, [r2, r3]\n"
      REQUANTIZE("r12")
      "strb r9, [r2]\n"
      "add r2, r2, r3, lsl #1\n"
      "subs r4, r4, #1\n"
      "bne 2b\n"
      "3:\n" /* an odd last output: again, with the second of the pair below the first */
      "cmp r3, #0\n"
      "beq 4f\n"
      "mov r3, #0\n"
      "ldr r4, [sp, #60]\n"
      "cmp r4, #0\n"
      "bne 2b\n"
      "4:\n"
      END_LINE);
}

#define ONE_OUTPUT(a, next, filter)       \
  "ldrd r10, r11, [sp, #" filter "]\n"    \
  "ldr r9, " next "\n"                    \
  "smlad r12, " a ", r10, r12\n"          \
  "smlabt r12, r9, r11, r12\n"            \
  "mov " a ", r9\n"

__attribute__((naked, noinline)) static void run_3x3_by_2(__attribute__((unused)) const struct channel_3x3 *c) {
  __asm(
      ENTER
      "1:\n"
      BEGIN_LINE
      "2:\n"
      "ldr r12, [sp, #56]\n"
      ONE_OUTPUT("r7", "[r0, r1]", "32")
      ONE_OUTPUT("r8", "[r0, r1, lsl #1]", "40")
      ONE_OUTPUT("r6", "[r0], #4", "24")
      "ldrd r10, r11, [sp, #48]\n"
      REQUANTIZE("r12")
      "strb r9, [r2]\n"
      "add r2, r2, r3\n"
      "subs r4, r4, #1\n"
      "bne 2b\n"
      END_LINE);
}

#else

static void run_outputs(const struct channel_3x3 *c, int32_t outputs, int32_t stride) {
  const int32_t width = c->line_bytes / 2;
  for (int32_t line = 0; line < c->lines; ++line) {
    for (int32_t i = 0; i < outputs; ++i) {
      const int16_t *x = (const int16_t *)(const void *)c->plane + line * (c->plane_step / 2) + i * stride;
      int32_t acc = c->bias;
      for (int32_t fy = 0; fy < 3; ++fy) {
        acc = tflash_smlad(tflash_load_word(x), c->filter[fy][0], acc);
        acc = tflash_smlabt((uint16_t)x[2], c->filter[fy][1], acc);
        x += width;
      }
      const int32_t result = tflash_smmlar(acc, c->multiplier, c->rounding + (acc >> 31)) >> c->code;
      c->output[line * c->output_line_step + i * c->output_position_step] = (int8_t)tflash_ssat8_half(result);
    }
  }
}

static void run_3x3(const struct channel_3x3 *c) {
  run_outputs(c, 2 * c->turns + c->odd, 1);
}

static void run_3x3_by_2(const struct channel_3x3 *c) {
  run_outputs(c, c->turns, 2);
}

#endif

static uint32_t pair(int32_t bottom, int32_t top) {
  return ((uint32_t)bottom & 0xFFFFu) | (uint32_t)top << 16;
}

/* The outputs of a channel, any filter and stride: two taps at once, an odd last one with a weight of 0 beside it. */
static void run_any(const struct tflash_depthwise_conv_2d_s8_dsp_params *p, int32_t channel, const int8_t *weights,
                    const int16_t *plane, uint32_t *filter, int8_t *output) {
  const int32_t pairs = (p->filter_positions + 1) >> 1;
  const int32_t code = tflash_shift_code(p->codes, channel, p->code_base);
  uint32_t *f = filter;
  for (int32_t line = 0; line < p->filter_lines; ++line) {
    for (int32_t tap = 0; tap < p->filter_positions; tap += 2) {
      *f++ = pair(2 * weights[tap], tap + 1 < p->filter_positions ? 2 * weights[tap + 1] : 0);
    }
    weights += p->filter_positions;
  }
  for (int32_t y = 0; y < p->output_lines; ++y) {
    const int16_t *window = plane + y * p->line_stride * p->plane_positions;
    int8_t *out = output + y * p->output_line_step;
    for (int32_t x = 0; x < p->output_positions; ++x) {
      const int16_t *line = window;
      int32_t acc = p->bias[channel];
      f = filter;
      for (int32_t fy = 0; fy < p->filter_lines; ++fy) {
        for (int32_t i = 0; i < pairs; ++i) {
          acc = tflash_smlad(tflash_load_word(line + 2 * i), *f++, acc);
        }
        line += p->plane_positions;
      }
      *out = tflash_requantize_twice(acc, p->multipliers[channel], code, p->doubled_zero);
      out += p->output_position_step;
      window += p->position_stride;
    }
  }
}

static uint32_t load_half(const int8_t *from) {
  uint16_t half;
  memcpy(&half, from, sizeof half);
  return half;
}

static int32_t lesser(int32_t a, int32_t b) {
  return a < b ? a : b;
}

/* One channel of the input into the inside of its plane; where second is not NULL, the next channel into that. */
static void gather(const struct tflash_depthwise_conv_2d_s8_dsp_params *p, const int8_t *input, int16_t *plane,
                   int16_t *second) {
  const int32_t lines = lesser(p->plane_lines - p->pad_before_lines, p->input_lines);
  const int32_t positions = lesser(p->plane_positions - p->pad_before_positions, p->input_positions);
  const int32_t step = p->input_position_step;
  const int32_t inside = p->pad_before_lines * p->plane_positions + p->pad_before_positions;
  for (int32_t y = 0; y < lines; ++y) {
    const int8_t *from = input + y * p->input_line_step;
    const int32_t at = inside + y * p->plane_positions;
    int16_t *to = plane + at;
    int32_t left = positions;
    if (second != NULL) {
      int16_t *to_second = second + at;
      for (; left >= 2; left -= 2) {
        const uint32_t word = load_half(from) | load_half(from + step) << 16;
        tflash_store_word(to, tflash_sxtb16(word));
        tflash_store_word(to_second, tflash_sxtb16_odd(word));
        from += 2 * step;
        to += 2;
        to_second += 2;
      }
      if (left > 0) {
        *to_second = from[1];
      }
    }
    for (; left > 0; --left) {
      *to++ = *from;
      from += step;
    }
  }
}

void tflash_depthwise_conv_2d_s8_dsp(const struct tflash_depthwise_conv_2d_s8_dsp_params *p, const int8_t *input,
                                     int8_t *output) {
  const int32_t channels = p->input_channels * p->depth_multiplier;
  const int32_t sample = p->output_lines * p->output_positions * channels;
  const int32_t plane_words = p->plane_lines * p->plane_positions >> 1;
  const int32_t is_3x3 = p->filter_lines == 3 && p->filter_positions == 3 && p->position_stride <= 2;
  const int32_t by_2 = p->position_stride == 2;
  uint32_t *const planes = (uint32_t *)p->scratch;
  uint32_t *const filter = planes + 2 * plane_words + 1;
  struct channel_3x3 c = {
      .line_bytes = 2 * p->plane_positions,
      .output_position_step = p->output_position_step,
      .turns = by_2 ? p->output_positions : p->output_positions >> 1,
      .odd = by_2 ? 0 : p->output_positions & 1,
      .lines = p->output_lines,
      .plane_step = 2 * p->line_stride * p->plane_positions,
      .output_line_step = p->output_line_step,
  };

  for (int32_t i = 0; i <= 2 * plane_words; ++i) { /* one more, which an odd last tap reads */
    planes[i] = pair(p->pad_code, p->pad_code);
  }
  for (int32_t b = 0; b < p->batches; ++b) {
    const int8_t *weights = p->weights;
    const uint32_t *plane = planes;
    int32_t i = 0; /* the input channel, and which of its output channels this is */
    int32_t m = 0;
    for (int32_t o = 0; o < channels; ++o) {
      if (m == 0) {
        if ((i & 1) == 0) {
          gather(p, input + i, (int16_t *)(void *)planes,
                 i + 1 < p->input_channels ? (int16_t *)(void *)(planes + plane_words) : NULL);
        }
        plane = planes + (i & 1) * plane_words;
      }
      const int32_t code = tflash_shift_code(p->codes, o, p->code_base);
      if (is_3x3 && code >= 0) {
        for (int32_t line = 0; line < 3; ++line) {
          const int8_t *w = weights + 3 * line;
          c.filter[line][0] = pair(2 * w[0], 2 * w[1]);
          c.filter[line][1] = pair(2 * w[1], 2 * w[2]);
        }
        c.plane = plane;
        c.output = output + o;
        c.code = code;
        c.multiplier = p->multipliers[o];
        c.rounding = (int32_t)((uint32_t)(int32_t)p->doubled_zero << code);
        c.bias = p->bias[o];
        if (by_2) {
          run_3x3_by_2(&c);
        } else {
          run_3x3(&c);
        }
      } else {
        run_any(p, o, weights, (const int16_t *)(const void *)plane, filter, output + o);
      }
      weights += p->filter_lines * p->filter_positions;
      if (++m == p->depth_multiplier) {
        m = 0;
        ++i;
      }
    }
    input += p->input_lines * p->input_positions * p->input_channels;
    output += sample;
  }
  tflash_clamp_codes(output - p->batches * sample, p->batches * sample, p->activation_min, p->activation_max);
}
