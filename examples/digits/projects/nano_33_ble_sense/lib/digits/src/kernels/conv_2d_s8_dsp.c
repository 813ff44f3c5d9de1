/* 2-D convolution, int8 in, int8 out, for cores with SMLAD; any filter, stride and padding, no dilation, no groups.
 *   output[b][y][x][o] = clamp(requant(sum_k twice(column[k]) * weights[o][k] + bias[o]))
 *   column[k]   the window's codes + 128, k = (fy * filter_width + fx) * input_channels + i; in the padding the zero
 *               point + 128; twice: doubled
 *   input    [batches][input_height][input_width][input_channels]      int8
 *   weights  int8, depth = filter size rounded up to 4 with zeros; of two channels a word of four each in turn,
 *            an odd last channel on its own
 *   bias     [output_channels] int32, twice (bias - (128 + zero point) * sum_k weights[o][k])
 *   multipliers, codes  [output_channels], as tflash_requantize_twice wants them, codes in nibbles (dsp.h)
 *   output   [batches][output_height][output_width][output_channels]   int8
 * Bit-exact with: TFLM's CONV_2D reference kernel (double rounding).
 * Overflow: partial sums may wrap around; aot/packing.py proves that the whole, doubled, is an int32.
 * Scratch: three columns of int16, and one of int8. Input and output must not overlap.
 *
 * Three pixels by two channels stay in registers: 12 SMLAD, 4 LDRD and 4 SXTB16 for 24 products. An LDRD takes two
 * cycles of a Cortex-M4 where it follows other work and the rest take one, so about one cycle a product; a Cortex-M7
 * issues SMLAD and loads in pairs. The inner loop is 320 bytes, within any flash cache or prefetch line buffer that
 * keeps a loop. */
#include "conv_2d_s8_dsp.h"

#include "dsp.h"

#define PIXELS 3
#define STRIDE (2 * PIXELS) /* words of the columns from one group of four codes to the next */

/* Three pixels by an even number of channels. The assembly knows the order of the fields. */
struct tile {
  const uint32_t *columns;
  uint32_t skip; /* groups of four codes in the first turn of the inner loop that do not exist, 0..3 */
  const uint32_t *columns_end;
  int32_t output_step; /* from one pixel to the next */
  int32_t doubled_zero;
  const int8_t *weights_end; /* at least one pair behind their start */
  const int32_t *bias;
  const int32_t *multipliers;
  const uint8_t *codes;
  int8_t *output;
  int32_t code_base;
};

#ifdef TFLASH_DSP_ASM

/* One group of a pixel: r8, r9 are the weights of one channel and r10, r11 of the other. */
#define GROUP_OF_PIXEL(acc0, acc1)         \
  "ldrd r12, lr, [r0], #8\n"               \
  "smlad " acc0 ", r8, r12, " acc0 "\n"    \
  "smlad " acc0 ", r9, lr, " acc0 "\n"     \
  "smlad " acc1 ", r10, r12, " acc1 "\n"   \
  "smlad " acc1 ", r11, lr, " acc1 "\n"

/* Four codes of three pixels by two channels: 20 instructions of 4 bytes. */
#define GROUP                   \
  "ldrd r8, r10, [r1], #8\n"    \
  "sxtb16 r9, r8, ror #8\n"     \
  "sxtb16 r8, r8\n"             \
  "sxtb16 r11, r10, ror #8\n"   \
  "sxtb16 r10, r10\n"           \
  GROUP_OF_PIXEL("r2", "r3")    \
  GROUP_OF_PIXEL("r4", "r5")    \
  GROUP_OF_PIXEL("r6", "r7")

/* tflash_requantize_twice of acc, with temporary t, rounding in r12; for a left shift with the zero point in r12. */
#define REQUANTIZE(acc, t, multiplier, code)         \
  "add " t ", r12, " acc ", asr #31\n"               \
  "smmlar " t ", " acc ", " multiplier ", " t "\n"   \
  "asr " t ", " t ", " code "\n"                     \
  "ssat " t ", #8, " t ", asr #1\n"
#define REQUANTIZE_LEFT(acc, t, multiplier, code)    \
  "lsl " t ", " acc ", " code "\n"                   \
  "smmlar " t ", " t ", " multiplier ", r12\n"       \
  "ssat " t ", #8, " t "\n"

/* A channel of three pixels: to r0, r0 + step and r0 + 2 * step. lr is the step, free before `step` loads it. */
#define CHANNEL(requantize, acc0, acc1, acc2, multiplier, code, free, step) \
  requantize(acc0, free, multiplier, code)                                  \
  "strb " free ", [r0]\n" step                                              \
  requantize(acc1, acc0, multiplier, code)                                  \
  "strb " acc0 ", [r0, lr]\n"                                               \
  requantize(acc2, acc1, multiplier, code)                                  \
  "strb " acc1 ", [r0, lr, lsl #1]\n"
#define FIRST(requantize) CHANNEL(requantize, "r2", "r4", "r6", "r8", "r10", "lr", "ldr lr, [sp, #12]\n")
#define SECOND(requantize) CHANNEL(requantize, "r3", "r5", "r7", "r9", "r11", "r2", "")

/* r0: columns, then output; r1: weights; r2..r7: sums of (pixel 0, channel 0), (0, 1), (1, 0), ..
 * On the stack lies the struct, with the address to enter the inner loop at instead of skip. */
__attribute__((naked, noinline)) static void run_tile(__attribute__((unused)) const struct tile *tile,
                                                      __attribute__((unused)) const int8_t *weights) {
  __asm(
      "push {r4-r11, lr}\n"
      "sub sp, sp, #44\n"
      "ldm r0, {r2-r12}\n"
      "adr lr, 2f\n"
      "mov r0, #80\n"
      "mla r3, r3, r0, lr\n"
      "orr r3, r3, #1\n"
      "stm sp, {r2-r12}\n"
      "1:\n"
      "ldr r12, [sp, #24]\n"
      "ldrd r2, r3, [r12], #8\n"
      "str r12, [sp, #24]\n"
      "mov r4, r2\n"
      "mov r5, r3\n"
      "mov r6, r2\n"
      "mov r7, r3\n"
      "ldrd r0, r12, [sp]\n"
      "bx r12\n"
      ".balign 4\n"
      "2:\n"
      GROUP GROUP GROUP GROUP
      "ldr r12, [sp, #8]\n"
      "cmp r0, r12\n"
      "bne 2b\n"
      "ldrd r12, lr, [sp, #28]\n"
      "ldrd r8, r9, [r12], #8\n"
      "ldrb r11, [lr], #1\n"
      "strd r12, lr, [sp, #28]\n"
      "ldr r12, [sp, #40]\n"
      "and r10, r11, #15\n"
      "add r10, r10, r12\n"
      "add r11, r12, r11, lsr #4\n"
      "ldr r0, [sp, #36]\n"
      "add lr, r0, #2\n"
      "str lr, [sp, #36]\n"
      "ldr r12, [sp, #16]\n"
      "cmp r10, #0\n"
      "blt 5f\n"
      "lsl r12, r12, r10\n"
      FIRST(REQUANTIZE)
      "3:\n"
      "add r0, r0, #1\n"
      "ldr r12, [sp, #16]\n"
      "cmp r11, #0\n"
      "blt 6f\n"
      "lsl r12, r12, r11\n"
      SECOND(REQUANTIZE)
      "4:\n"
      "ldr r12, [sp, #20]\n"
      "cmp r1, r12\n"
      "bne 1b\n"
      "add sp, sp, #44\n"
      "pop {r4-r11, pc}\n"
      "5:\n"
      "mvn r10, r10\n"
      "asr r12, r12, #1\n"
      FIRST(REQUANTIZE_LEFT)
      "b 3b\n"
      "6:\n"
      "mvn r11, r11\n"
      "asr r12, r12, #1\n"
      SECOND(REQUANTIZE_LEFT)
      "b 4b\n");
}

#else

static void run_tile(const struct tile *tile, const int8_t *weights) {
  for (int32_t pair = 0; weights < tile->weights_end; ++pair) {
    for (int32_t channel = 2 * pair; channel < 2 * pair + 2; ++channel) {
      for (int32_t pixel = 0; pixel < PIXELS; ++pixel) {
        const int8_t *w = weights + 4 * (channel & 1);
        int32_t acc = tile->bias[channel];
        for (const uint32_t *x = tile->columns + 2 * pixel; x < tile->columns_end; x += STRIDE) {
          acc = tflash_smlad(x[0], tflash_sxtb16(tflash_load_word(w)), acc);
          acc = tflash_smlad(x[1], tflash_sxtb16_odd(tflash_load_word(w)), acc);
          w += 8;
        }
        tile->output[pixel * tile->output_step + channel] =
            tflash_requantize_twice(
                acc, tile->multipliers[channel], tflash_shift_code(tile->codes, channel, tile->code_base),
                tile->doubled_zero);
      }
    }
    weights += (tile->columns_end - tile->columns) / STRIDE * 8;
  }
}

#endif

/* The last of an odd number of channels. */
static void run_last_channel(const struct tile *tile, const int8_t *weights, int32_t channel) {
  for (int32_t pixel = 0; pixel < PIXELS; ++pixel) {
    const int8_t *w = weights;
    int32_t acc = tile->bias[channel];
    for (const uint32_t *x = tile->columns + 2 * pixel; x < tile->columns_end; x += STRIDE) {
      acc = tflash_smlad(x[0], tflash_sxtb16(tflash_load_word(w)), acc);
      acc = tflash_smlad(x[1], tflash_sxtb16_odd(tflash_load_word(w)), acc);
      w += 4;
    }
    tile->output[pixel * tile->output_step + channel] =
        tflash_requantize_twice(
                acc, tile->multipliers[channel], tflash_shift_code(tile->codes, channel, tile->code_base),
                tile->doubled_zero);
  }
}

/* Groups of four codes, + 128 and doubled, into a column: bytes 0 and 2, then 1 and 3. Returns the column's next group. */
static uint32_t *expand(const int8_t *codes, int32_t groups, uint32_t *column) {
#ifdef TFLASH_DSP_ASM
  if (groups > 0) {
    uint32_t word;
    uint32_t even;
    __asm volatile(
        "1:\n"
        "ldr %0, [%2], #4\n"
        "eor %0, %0, #0x80808080\n"
        "and %1, %5, %0, lsl #1\n"
        "and %0, %5, %0, lsr #7\n"
        "strd %1, %0, [%3], #24\n"
        "subs %4, %4, #1\n"
        "bne 1b"
        : "=&r"(word), "=&r"(even), "+r"(codes), "+r"(column), "+r"(groups)
        : "r"(0x01FE01FEu)
        : "cc", "memory");
  }
#else
  for (; groups > 0; --groups) {
    const uint32_t word = tflash_load_word(codes) ^ 0x80808080u;
    column[0] = word << 1 & 0x01FE01FEu;
    column[1] = word >> 7 & 0x01FE01FEu;
    column += STRIDE;
    codes += 4;
  }
#endif
  return column;
}

__attribute__((noinline)) static uint32_t *fill(int32_t code, int32_t groups, uint32_t *column) {
  const uint32_t twice = (uint32_t)(2 * (code + 128)) * 0x10001u;
  for (; groups > 0; --groups) {
    column[0] = twice;
    column[1] = twice;
    column += STRIDE;
  }
  return column;
}

/* Where a window lies on the input: its first row and column, and the filter columns left of, in and right of it. */
struct place {
  const int8_t *input; /* of the sample */
  int32_t y;
  int32_t x;
  int32_t before;
  int32_t inside;
  int32_t after;
};

static struct place place_of(const struct tflash_conv_2d_s8_dsp_params *p, const int8_t *input, int32_t pixel) {
  struct place place;
  const int32_t row = pixel / p->output_width;
  const int32_t sample = row / p->output_height;
  place.input = input + sample * p->input_height * p->input_width * p->input_channels;
  place.y = (row - sample * p->output_height) * p->stride_height - p->pad_top;
  place.x = (pixel - row * p->output_width) * p->stride_width - p->pad_left;
  const int32_t end = p->input_width - place.x;
  const int32_t limit = end < p->filter_width ? end : p->filter_width;
  place.before = place.x < 0 ? -place.x : 0;
  place.before = place.before < p->filter_width ? place.before : p->filter_width;
  place.inside = limit > place.before ? limit - place.before : 0;
  place.after = p->filter_width - place.before - place.inside;
  return place;
}

/* A window where every piece of a row is whole groups. */
static void gather_groups(const struct tflash_conv_2d_s8_dsp_params *p, const struct place *place, uint32_t *column) {
  const int32_t channels = p->input_channels;
  for (int32_t y = place->y; y < place->y + p->filter_height; ++y) {
    if (y < 0 || y >= p->input_height) {
      column = fill(p->pad_code, p->filter_width * channels >> 2, column);
    } else {
      const int8_t *row = place->input + (y * p->input_width + place->x + place->before) * channels;
      column = fill(p->pad_code, place->before * channels >> 2, column);
      column = expand(row, place->inside * channels >> 2, column);
      column = fill(p->pad_code, place->after * channels >> 2, column);
    }
  }
}

static int8_t *copy(int8_t *to, const int8_t *from, int32_t count) {
  for (; count > 0; --count) {
    *to++ = *from++;
  }
  return to;
}

__attribute__((noinline)) static int8_t *repeat(int8_t *to, int32_t code, int32_t count) {
  for (; count > 0; --count) {
    *to++ = (int8_t)code;
  }
  return to;
}

/* A window as int8 codes. */
static void gather_codes(const struct tflash_conv_2d_s8_dsp_params *p, const struct place *place, int8_t *codes) {
  const int32_t channels = p->input_channels;
  for (int32_t y = place->y; y < place->y + p->filter_height; ++y) {
    if (y < 0 || y >= p->input_height) {
      codes = repeat(codes, p->pad_code, p->filter_width * channels);
    } else {
      const int8_t *row = place->input + (y * p->input_width + place->x + place->before) * channels;
      codes = repeat(codes, p->pad_code, place->before * channels);
      codes = copy(codes, row, place->inside * channels);
      codes = repeat(codes, p->pad_code, place->after * channels);
    }
  }
}

/* The window of an output pixel into a column. */
static void gather(const struct tflash_conv_2d_s8_dsp_params *p, const int8_t *input, int32_t pixel, int8_t *codes,
                   uint32_t *column) {
  const struct place place = place_of(p, input, pixel);
  const int32_t outside = (place.before | place.after) != 0;
  const int32_t row_codes = p->filter_width * p->input_channels;
  const int32_t groups = (p->filter_height * row_codes + 3) >> 2;
  if ((p->input_channels & 3) == 0 || (!outside && (row_codes & 3) == 0)) {
    gather_groups(p, &place, column);
    return;
  }
  if (!outside && place.y >= 0 && place.y + p->filter_height < p->input_height) {
    /* All inside, and another row below: whole words, each row over the excess of the one before. */
    const int32_t input_row = p->input_width * p->input_channels;
    const int8_t *row = place.input + place.y * input_row + place.x * p->input_channels;
    int8_t *to = codes;
    for (int32_t left = p->filter_height; left > 0; --left) {
      for (int32_t i = 0; i < row_codes; i += 4) {
        tflash_store_word(to + i, tflash_load_word(row + i));
      }
      to += row_codes;
      row += input_row;
    }
  } else {
    gather_codes(p, &place, codes);
  }
  (void)expand(codes, groups, column);
}

void tflash_conv_2d_s8_dsp(const struct tflash_conv_2d_s8_dsp_params *p, const int8_t *input, int8_t *output) {
  const int32_t depth = p->filter_height * p->filter_width * p->input_channels;
  const int32_t groups = (depth + 3) >> 2;
  const int32_t pixels = p->batches * p->output_height * p->output_width;
  const int32_t channels = p->output_channels;
  uint32_t *columns = (uint32_t *)p->scratch;
  int8_t *codes = (int8_t *)(columns + STRIDE * groups);
  /* 1 x 1 at a stride of 1: a window is a pixel of the input. */
  const int32_t dense = depth == p->input_channels && (depth & 3) == 0 && p->stride_height * p->stride_width == 1;
  /* Three pixels at a time, the last three overlapping those before; of one or two pixels each thrice. */
  const int32_t step = pixels >= PIXELS ? PIXELS : 1;
  struct tile tile = {
      .columns = columns,
      .columns_end = columns + STRIDE * groups,
      .skip = (uint32_t)-groups & 3u,
      .output_step = step == PIXELS ? channels : 0,
      .doubled_zero = p->doubled_zero,
      .weights_end = p->weights + (channels >> 1) * groups * 8,
      .bias = p->bias,
      .multipliers = p->multipliers,
      .codes = p->codes,
      .code_base = p->code_base,
  };
  for (int32_t done = 0; done < pixels; done += step) {
    const int32_t first = done + step <= pixels ? done : pixels - step;
    for (int32_t i = 0; i < PIXELS; ++i) {
      const int32_t pixel = first + (step == PIXELS ? i : 0);
      uint32_t *column = columns + 2 * i;
      if (dense) {
        (void)expand(input + pixel * depth, groups, column);
      } else {
        gather(p, input, pixel, codes, column);
      }
    }
    tile.output = output + first * channels;
    if (channels > 1) {
      run_tile(&tile, p->weights);
    }
    if ((channels & 1) != 0) {
      run_last_channel(&tile, p->weights + (channels - 1) * groups * 4, channels - 1);
    }
  }
  tflash_clamp_codes(output, pixels * channels, p->activation_min, p->activation_max);
}
