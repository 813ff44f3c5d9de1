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
 * Scratch: three columns of int16, and one of int8.
 * Three outputs at a time are computed in order, once their windows are in columns, so that they may overlap the input:
 * aot/ops/overlap.py says how far.
 *
 * Three pixels by two channels stay in registers: 12 SMLAD, 4 LDRD and 4 SXTB16 for 24 products. An LDRD takes three
 * cycles of a Cortex-M4 and the rest take one: 28 cycles. A Cortex-M7 issues SMLAD and loads in pairs. Six outputs take
 * 60 cycles more. The inner loop is 320 bytes, within any flash cache or prefetch line buffer that keeps a loop; weights
 * come from flash eight bytes at a time, once for three pixels. */
#include "conv_2d_s8_dsp.h"

#include "dsp.h"

#define PIXELS 3
#define STRIDE (2 * PIXELS) /* words of the columns from one group of four codes to the next */

/* Three pixels by an even number of channels. The assembly knows the order of the fields. */
struct tile {
  const uint32_t *columns;
  uint32_t skip; /* groups of four codes in the first turn of the inner loop that do not exist, 0..3 */
  const uint32_t *columns_end;
  int32_t output_step; /* from one pixel to the next; the first pixel is written last */
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

/* A channel of three pixels, the first one last: to r0, which moves on to the next channel, and to r0 + step and
 * r0 + 2 * step. t is free; `load` loads the step to r6, which may hold acc2. */
#define CHANNEL(requantize, acc0, acc1, acc2, multiplier, code, t, load) \
  requantize(acc1, t, multiplier, code)                                  \
  requantize(acc2, acc1, multiplier, code)                               \
  load                                                                   \
  "strb " t ", [r0, r6]\n"                                               \
  "strb " acc1 ", [r0, r6, lsl #1]\n"                                    \
  requantize(acc0, acc1, multiplier, code)                               \
  "strb " acc1 ", [r0], #1\n"
#define FIRST(requantize) CHANNEL(requantize, "r2", "r4", "r6", "r8", "r10", "lr", "ldr r6, [sp, #12]\n")
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
      "ldrd r0, r12, [sp, #36]\n"
      "and r10, r11, #15\n"
      "add r10, r10, r12\n"
      "add r11, r12, r11, lsr #4\n"
      "ldr r12, [sp, #16]\n"
      "cmp r10, #0\n"
      "blt 5f\n"
      "lsl r12, r12, r10\n"
      FIRST(REQUANTIZE)
      "3:\n"
      "ldr r12, [sp, #16]\n"
      "cmp r11, #0\n"
      "blt 6f\n"
      "lsl r12, r12, r11\n"
      SECOND(REQUANTIZE)
      "4:\n"
      "str r0, [sp, #36]\n"
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
      for (int32_t pixel = PIXELS - 1; pixel >= 0; --pixel) {
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
  for (int32_t pixel = PIXELS - 1; pixel >= 0; --pixel) {
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

static int32_t limited(int32_t value, int32_t high) {
  return value < 0 ? 0 : (value > high ? high : value);
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

/* `count` codes, at least one, of each of some rows, one after the other. */
static int8_t *copy(int8_t *to, const int8_t *from, int32_t count, int32_t rows, int32_t input_row) {
#ifdef TFLASH_DSP_ASM
  uint32_t word;
  int32_t left;
  __asm volatile(
      "1:\n"
      "lsrs %[left], %[count], #2\n"
      "beq 3f\n"
      "2:\n"
      "ldr %[word], [%[from]], #4\n"
      "str %[word], [%[to]], #4\n"
      "subs %[left], %[left], #1\n"
      "bne 2b\n"
      "3:\n"
      "ands %[left], %[count], #3\n"
      "beq 5f\n"
      "4:\n"
      "ldrb %[word], [%[from]], #1\n"
      "strb %[word], [%[to]], #1\n"
      "subs %[left], %[left], #1\n"
      "bne 4b\n"
      "5:\n"
      "add %[from], %[from], %[skip]\n"
      "subs %[rows], %[rows], #1\n"
      "bne 1b"
      : [word] "=&r"(word), [left] "=&r"(left), [to] "+r"(to), [from] "+r"(from), [rows] "+r"(rows)
      : [count] "r"(count), [skip] "r"(input_row - count)
      : "cc", "memory");
#else
  for (; rows > 0; --rows) {
    memcpy(to, from, (size_t)count);
    to += count;
    from += rows > 1 ? input_row : 0;
  }
#endif
  return to;
}

__attribute__((noinline)) static int8_t *repeat(int8_t *to, int32_t code, int32_t count) {
  for (; count > 0; --count) {
    *to++ = (int8_t)code;
  }
  return to;
}

/* Where the next window lies: its first row and column on a sample, and those behind the last one's. */
struct window {
  const int8_t *sample;
  int32_t y;
  int32_t x;
  int32_t y_end;
  int32_t x_end;
};

/* The window's codes into a column: at once where the pieces of its rows are whole groups, else by way of int8 codes. */
__attribute__((noinline)) static void gather(const struct tflash_conv_2d_s8_dsp_params *p,
                                             const struct window *window, int8_t *codes, uint32_t *column) {
  const int32_t channels = p->input_channels;
  const int32_t width = p->filter_width * channels;
  const int32_t input_row = p->input_width * channels;
  const int32_t x = window->x * channels;
  int32_t rows = p->filter_height;
  int32_t y = window->y;
  const int32_t excess = x + width - input_row;
  if (x >= 0 && excess <= 0 && y >= 0 && y + rows <= p->input_height) {
    const int8_t *row = window->sample + y * input_row + x;
    if ((width & 3) != 0) {
      (void)copy(codes, row, width, rows, input_row);
      (void)expand(codes, (rows * width + 3) >> 2, column);
    } else {
      for (; rows > 0; --rows) {
        column = expand(row, width >> 2, column);
        row += input_row;
      }
    }
    return;
  }
  const int32_t before = limited(-x, width);
  const int32_t after = limited(excess, width);
  const int32_t in_groups = ((before | after | width) & 3) == 0;
  int8_t *to = codes;
  for (; rows > 0; --rows) {
    const int32_t is_inside = y >= 0 && y < p->input_height;
    const int32_t head = is_inside ? before : width;
    const int32_t tail = is_inside ? after : 0;
    const int32_t inside = width - head - tail;
    const int8_t *const row = window->sample + (inside > 0 ? y * input_row + x + before : 0);
    if (in_groups) {
      column = fill(p->pad_code, head >> 2, column);
      column = expand(row, inside >> 2, column);
      column = fill(p->pad_code, tail >> 2, column);
    } else {
      to = repeat(to, p->pad_code, head);
      to = inside > 0 ? copy(to, row, inside, 1, 0) : to;
      to = repeat(to, p->pad_code, tail);
    }
    ++y;
  }
  if (!in_groups) {
    (void)expand(codes, (p->filter_height * width + 3) >> 2, column);
  }
}

static void advance(const struct tflash_conv_2d_s8_dsp_params *p, struct window *window) {
  window->x += p->stride_width;
  if (window->x == window->x_end) {
    window->x = -p->pad_left;
    window->y += p->stride_height;
    if (window->y == window->y_end) {
      window->y = -p->pad_top;
      window->sample += p->input_height * p->input_width * p->input_channels;
    }
  }
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
  struct window window = {
      .sample = input,
      .y = -p->pad_top,
      .x = -p->pad_left,
      .y_end = p->output_height * p->stride_height - p->pad_top,
      .x_end = p->output_width * p->stride_width - p->pad_left,
  };
  struct tile tile = {
      .columns = columns,
      .columns_end = columns + STRIDE * groups,
      .skip = (uint32_t)-groups & 3u,
      .doubled_zero = p->doubled_zero,
      .weights_end = p->weights + (channels >> 1) * groups * 8,
      .bias = p->bias,
      .multipliers = p->multipliers,
      .codes = p->codes,
      .code_base = p->code_base,
  };
  int32_t count = PIXELS;
  for (int32_t left = pixels; left > 0; left -= count) {
    /* The last two go backwards into a tile that still has the one before them; a last one, or where there are only
     * two, goes where the other pixels of the tile are overwritten by it. */
    int32_t slot = 0;
    int32_t slot_step = 1;
    if (left < PIXELS) {
      count = left == 2 && pixels > 2 ? 2 : 1;
      slot = count - 1;
      slot_step = -1;
    }
    tile.output_step = count == 1 ? 0 : slot_step * channels;
    tile.output = output + slot * channels;
    for (int32_t i = 0; i < count; ++i) {
      if (dense) {
        (void)expand(input, groups, columns + 2 * slot);
        input += depth;
      } else {
        gather(p, &window, codes, columns + 2 * slot);
        advance(p, &window);
      }
      slot += slot_step;
    }
    if (channels > 1) {
      run_tile(&tile, p->weights);
    }
    if ((channels & 1) != 0) {
      run_last_channel(&tile, p->weights + (channels - 1) * groups * 4, channels - 1);
    }
    output += count * channels;
  }
  tflash_clamp_codes(output - pixels * channels, pixels * channels, p->activation_min, p->activation_max);
}
