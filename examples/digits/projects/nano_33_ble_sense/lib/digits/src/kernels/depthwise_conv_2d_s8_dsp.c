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
 * outputs share their loads: 36 instructions, 18 products. On a Cortex-M4 an LDRD takes three cycles and an LDR two, all
 * words aligned: about 50 cycles; the loops are 150 and 110 bytes. On a Cortex-M7 loads pair with SMLAD. A filter and its
 * constants come from flash once a channel. Two positions of two channels take 10 instructions to their planes, where
 * words are unaligned, and take a cycle more, if the padding is odd. */
#include "depthwise_conv_2d_s8_dsp.h"

#include "dsp.h"

/* One channel of outputs, 3 x 3. The assembly knows the order of the fields. */
struct channel_3x3 {
  const uint32_t *plane;
  int32_t line_bytes; /* of the plane */
  int8_t *output;
  int32_t output_position_step;
  int32_t turns; /* at a stride of 1 pairs of outputs in a line, else outputs */
  int32_t code;  /* of a right shift */
  int32_t multiplier;
  int32_t rounding; /* doubled_zero << code */
  int32_t bias;
  int32_t odd; /* 1: there is one output more than pairs */
  int32_t lines;
  int32_t plane_step; /* bytes from the first line of one line of outputs to that of the next */
  int32_t output_line_step;
  int32_t stride; /* of positions, 1 or 2 */
};

#ifdef TFLASH_DSP_ASM

/* The taps of a line, doubled, as (0, 1) and (1, 2) to the stack: of the word at r1 + offset `outer` are taps 0 and 2
 * and the bottom of `inner` is tap 1. */
#define FILTER_LINE(offset, outer, inner, to) \
  "ldr r2, [r1, #" offset "]\n"               \
  "sxtb16 r3, r2" outer "\n"                  \
  "sxtb16 r2, r2" inner "\n"                  \
  "sadd16 r3, r3, r3\n"                       \
  "sadd16 r2, r2, r2\n"                       \
  "pkhbt r4, r3, r2, lsl #16\n"               \
  "pkhtb r5, r3, r2\n"                        \
  "strd r4, r5, [sp, #" to "]\n"

/* r0: plane, r1: line_bytes, r2: output, r3: output_position_step, r4: turns, r5: code, r6..r8: a word of each line. */
#define BEGIN_LINE             \
  "ldm sp, {r0-r5}\n"          \
  "ldrd r8, r9, [sp, #44]\n"   \
  "add r8, r8, r0\n"           \
  "str r8, [sp]\n"             \
  "add r9, r9, r2\n"           \
  "str r9, [sp, #8]\n"         \
  "ldr r7, [r0, r1]\n"         \
  "ldr r8, [r0, r1, lsl #1]\n" \
  "ldr r6, [r0], #4\n"

#define NEXT_LINE(label)       \
  "ldr r4, [sp, #40]\n"        \
  "subs r4, r4, #1\n"          \
  "str r4, [sp, #40]\n"        \
  "bne " label "\n"            \
  "add sp, sp, #76\n"          \
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

#define ONE_OUTPUT(a, next, filter)       \
  "ldrd r10, r11, [sp, #" filter "]\n"    \
  "ldr r9, " next "\n"                    \
  "smlad r12, " a ", r10, r12\n"          \
  "smlabt r12, r9, r11, r12\n"            \
  "mov " a ", r9\n"

/* The stack holds the struct up to its stride, and behind it the filter. */
__attribute__((naked, noinline)) static void run_3x3(__attribute__((unused)) const struct channel_3x3 *c,
                                                     __attribute__((unused)) const int8_t *weights) {
  __asm(
      "push {r4-r11, lr}\n"
      "sub sp, sp, #76\n"
      "ldm r0!, {r2-r12}\n"
      "stm sp, {r2-r12}\n"
      "ldm r0, {r2-r4}\n"
      "strd r2, r3, [sp, #44]\n"
      "cmp r4, #2\n" /* the flags are kept until 5 is chosen */
      FILTER_LINE("0", "", ", ror #8", "52")
      FILTER_LINE("3", "", ", ror #8", "60")
      FILTER_LINE("5", ", ror #8", ", ror #16", "68") /* the last four bytes of the filter */
      "beq 5f\n"
      "1:\n"
      BEGIN_LINE
      "cmp r4, #0\n"
      "beq 3f\n"
      "2:\n"
      "ldr r12, [sp, #32]\n"
      TWO_OUTPUTS("r7", "[r0, r1]", "60", "r12")
      TWO_OUTPUTS("r8", "[r0, r1, lsl #1]", "68", "lr")
      TWO_OUTPUTS("r6", "[r0], #4", "52", "lr")
      "ldrd r10, r11, [sp, #24]\n"
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
      "ldr r4, [sp, #36]\n"
      "cmp r4, #0\n"
      "bne 2b\n"
      "4:\n"
      NEXT_LINE("1b")
      "5:\n"
      BEGIN_LINE
      "6:\n"
      "ldr r12, [sp, #32]\n"
      ONE_OUTPUT("r7", "[r0, r1]", "60")
      ONE_OUTPUT("r8", "[r0, r1, lsl #1]", "68")
      ONE_OUTPUT("r6", "[r0], #4", "52")
      "ldrd r10, r11, [sp, #24]\n"
      REQUANTIZE("r12")
      "strb r9, [r2]\n"
      "add r2, r2, r3\n"
      "subs r4, r4, #1\n"
      "bne 6b\n"
      NEXT_LINE("5b"));
}

#else

static void run_3x3(const struct channel_3x3 *c, const int8_t *weights) {
  const int32_t width = c->line_bytes / 2;
  const int32_t outputs = c->stride == 2 ? c->turns : 2 * c->turns + c->odd;
  for (int32_t line = 0; line < c->lines; ++line) {
    for (int32_t i = 0; i < outputs; ++i) {
      const int16_t *x = (const int16_t *)(const void *)c->plane + line * (c->plane_step / 2) + i * c->stride;
      int32_t acc = c->bias;
      for (int32_t tap = 0; tap < 9; ++tap) {
        acc = tflash_smlabb((uint16_t)x[tap / 3 * width + tap % 3], (uint16_t)(2 * weights[tap]), acc);
      }
      const int32_t result = tflash_smmlar(acc, c->multiplier, c->rounding + (acc >> 31)) >> c->code;
      c->output[line * c->output_line_step + i * c->output_position_step] = (int8_t)tflash_ssat8_half(result);
    }
  }
}

#endif

/* Bytes from one line, or one position, to the next. */
struct steps {
  int32_t input_line;
  int32_t input_position;
  int32_t output_line;
  int32_t output_position;
};

static uint32_t pair(int32_t bottom, int32_t top) {
  return ((uint32_t)bottom & 0xFFFFu) | (uint32_t)top << 16;
}

/* The outputs of a channel, any filter and stride: two taps at once, an odd last one with a weight of 0 beside it. */
static void run_any(const struct tflash_depthwise_conv_2d_s8_dsp_params *p, const struct steps *steps, int32_t channel,
                    const int8_t *weights, const int16_t *plane, uint32_t *filter, int8_t *output) {
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
    int8_t *out = output + y * steps->output_line;
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
      out += steps->output_position;
      window += p->position_stride;
    }
  }
}

/* Some positions of two channels, as int16, to a line of a plane and to one `second` bytes behind it. */
static void gather_two(const int8_t *from, int32_t step, int32_t positions, int16_t *to, int32_t second) {
#ifdef TFLASH_DSP_ASM
  uint32_t word;
  uint32_t other;
  __asm volatile(
      "subs %[positions], %[positions], #2\n"
      "blt 2f\n"
      "1:\n"
      "ldrh %[word], [%[from]]\n"
      "ldrh %[other], [%[from], %[step]]\n"
      "add %[from], %[from], %[step], lsl #1\n"
      "orr %[word], %[word], %[other], lsl #16\n"
      "sxtb16 %[other], %[word], ror #8\n"
      "sxtb16 %[word], %[word]\n"
      "str %[other], [%[to], %[second]]\n"
      "str %[word], [%[to]], #4\n"
      "subs %[positions], %[positions], #2\n"
      "bge 1b\n"
      "2:\n"
      "adds %[positions], %[positions], #2\n"
      "beq 3f\n"
      "ldrsb %[other], [%[from], #1]\n"
      "ldrsb %[word], [%[from]]\n"
      "strh %[other], [%[to], %[second]]\n"
      "strh %[word], [%[to]]\n"
      "3:"
      : [from] "+r"(from), [positions] "+r"(positions), [to] "+r"(to), [word] "=&r"(word), [other] "=&r"(other)
      : [step] "r"(step), [second] "r"(second)
      : "cc", "memory");
#else
  for (; positions > 0; --positions) {
    to[0] = from[0];
    to[second / 2] = from[1];
    from += step;
    ++to;
  }
#endif
}

static int32_t lesser(int32_t a, int32_t b) {
  return a < b ? a : b;
}

/* One channel of the input into the inside of its plane, or two into the planes of both. */
static void gather(const struct tflash_depthwise_conv_2d_s8_dsp_params *p, const struct steps *steps,
                   const int8_t *input, int16_t *plane, int32_t two) {
  const int32_t positions = lesser(p->plane_positions - p->pad_before_positions, p->input_positions);
  const int32_t plane_bytes = 2 * p->plane_lines * p->plane_positions;
  int16_t *to = plane + p->pad_before_lines * p->plane_positions + p->pad_before_positions;
  for (int32_t y = lesser(p->plane_lines - p->pad_before_lines, p->input_lines); y > 0; --y) {
    if (two) {
      gather_two(input, steps->input_position, positions, to, plane_bytes);
    } else {
      const int8_t *from = input;
      for (int32_t x = 0; x < positions; ++x) {
        to[x] = *from;
        from += steps->input_position;
      }
    }
    input += steps->input_line;
    to += p->plane_positions;
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
  const struct steps steps = {
      .input_line = p->input_channels * (p->lines_are_columns ? 1 : p->input_positions),
      .input_position = p->input_channels * (p->lines_are_columns ? p->input_lines : 1),
      .output_line = channels * (p->lines_are_columns ? 1 : p->output_positions),
      .output_position = channels * (p->lines_are_columns ? p->output_lines : 1),
  };
  struct channel_3x3 c = {
      .line_bytes = 2 * p->plane_positions,
      .output_position_step = steps.output_position,
      .turns = by_2 ? p->output_positions : p->output_positions >> 1,
      .odd = p->output_positions & 1,
      .lines = p->output_lines,
      .plane_step = 2 * p->line_stride * p->plane_positions,
      .output_line_step = steps.output_line,
      .stride = p->position_stride,
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
          gather(p, &steps, input + i, (int16_t *)(void *)planes, i + 1 < p->input_channels);
        }
        plane = planes + (i & 1) * plane_words;
      }
      const int32_t code = tflash_shift_code(p->codes, o, p->code_base);
      if (is_3x3 && code >= 0) {
        c.plane = plane;
        c.output = output + o;
        c.code = code;
        c.multiplier = p->multipliers[o];
        c.rounding = (int32_t)((uint32_t)(int32_t)p->doubled_zero << code);
        c.bias = p->bias[o];
        run_3x3(&c, weights);
      } else {
        run_any(p, &steps, o, weights, (const int16_t *)(const void *)plane, filter, output + o);
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
