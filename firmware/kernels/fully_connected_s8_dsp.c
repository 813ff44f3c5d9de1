/* Fully connected layer, int8 in, int8 out, for cores with SMLAD; per-channel or per-tensor weights.
 *   output[b][o] = clamp(requant(2 * (bias[o] + sum_d input[b][d] * weights[o][d])))
 *   input    [batches][depth]    int8
 *   weights  int8, depth rounded up to 4 with zeros; of four outputs a word of four each in turn, the outputs left over
 *            one by one
 *   bias     [outputs]           int32  bias - zero point of the input * sum of the output's weights
 *   multipliers, codes  [outputs] or 1, as tflash_requantize_twice (dsp.h) wants them
 *   output   [batches][outputs]  int8
 * Bit-exact with: TFLM's FULLY_CONNECTED reference kernels (double rounding).
 * Overflow: partial sums may wrap around; aot/packing.py proves that the whole, doubled, is an int32.
 * Scratch: the input with its depth rounded up to 4, where it is not. Input and output must not overlap.
 *
 * Each weight is used once, so its load counts: 16 products take an LDM of four words, a load of inputs, 10 SXTB16 and
 * 8 SMLAD, 25 cycles on a Cortex-M4 with weights in RAM. From flash with wait states the 16 bytes in a row that an LDM
 * reads suit the prefetch buffer. The loop is 320 bytes. */
#include "fully_connected_s8_dsp.h"

#include <stddef.h>

#include "dsp.h"

#define OUTPUTS 4

/* Some times four outputs. The assembly knows the order of the fields. */
struct quads {
  const int8_t *input;
  uint32_t skip;  /* groups of four inputs in the first turn of the inner loop that do not exist, 0..3 */
  int32_t turns;  /* of up to four groups, at least 1 */
  const int32_t *bias;
  const int32_t *multipliers;
  const int8_t *codes;
  int8_t *output;
  int32_t count; /* at least 1 */
  int32_t doubled_zero;
  int32_t multiplier_step; /* bytes from one output to the next, 0 where they are the same */
  int32_t code_step;
};

#ifdef TFLASH_DSP_ASM

#define OUTPUT(acc, weights)                  \
  "sxtb16 lr, " weights "\n"                  \
  "sxtb16 " weights ", " weights ", ror #8\n" \
  "smlad " acc ", lr, r8, " acc "\n"          \
  "smlad " acc ", " weights ", r9, " acc "\n"

/* Four inputs by four outputs: 20 instructions of 4 bytes. */
#define GROUP                        \
  "ldr.w r8, [r0], #4\n"             \
  "ldm.w r1!, {r3, r10, r11, r12}\n" \
  "sxtb16 r9, r8, ror #8\n"          \
  "sxtb16 r8, r8\n"                  \
  OUTPUT("r4", "r3")                 \
  OUTPUT("r5", "r10")                \
  OUTPUT("r6", "r11")                \
  OUTPUT("r7", "r12")

/* r0: input, r1: weights, r2: turns, r4..r7: sums. On the stack lies the struct, with the address to enter the inner
 * loop at instead of skip, and behind it room for the sums, which are requantized one by one (tflash_requantize_twice of
 * twice the sum): lr walks over them, r0: output, r6: multipliers, r7: codes, r10, r11: their steps, r12: doubled_zero. */
__attribute__((naked, noinline)) static void run_quads(__attribute__((unused)) const struct quads *quads,
                                                       __attribute__((unused)) const int8_t *weights) {
  __asm(
      "push {r4-r11, lr}\n"
      "sub sp, sp, #60\n"
      "ldm r0, {r2-r12}\n"
      "adr r0, 2f\n"
      "mov lr, #80\n"
      "mla r3, r3, lr, r0\n"
      "orr r3, r3, #1\n"
      "stm sp, {r2-r12}\n"
      "1:\n"
      "ldr r12, [sp, #12]\n"
      "ldm r12!, {r4-r7}\n"
      "str r12, [sp, #12]\n"
      "ldr r2, [sp, #8]\n"
      "ldr r12, [sp, #4]\n"
      "ldr r0, [sp]\n"
      "bx r12\n"
      ".balign 4\n"
      "2:\n"
      GROUP GROUP GROUP GROUP
      "subs r2, r2, #1\n"
      "bne 2b\n"
      "add lr, sp, #44\n"
      "stm lr, {r4-r7}\n"
      "ldrd r6, r7, [sp, #16]\n"
      "ldr r0, [sp, #24]\n"
      "ldr r12, [sp, #32]\n"
      "ldrd r10, r11, [sp, #36]\n"
      "add r8, sp, #60\n"
      "3:\n"
      "ldr r4, [lr], #4\n"
      "ldr r2, [r6]\n"
      "add r6, r10\n"
      "ldrsb r3, [r7]\n"
      "add r7, r11\n"
      "lsls r4, r4, #1\n"
      "cmp r3, #0\n"
      "blt 5f\n"
      "lsl r5, r12, r3\n"
      "add r5, r5, r4, asr #31\n"
      "smmlar r5, r4, r2, r5\n"
      "asrs r5, r3\n"
      "ssat r5, #8, r5, asr #1\n"
      "4:\n"
      "strb r5, [r0], #1\n"
      "cmp lr, r8\n"
      "bne 3b\n"
      "strd r6, r7, [sp, #16]\n"
      "str r0, [sp, #24]\n"
      "ldr r2, [sp, #28]\n"
      "subs r2, r2, #1\n"
      "str r2, [sp, #28]\n"
      "bne 1b\n"
      "add sp, sp, #60\n"
      "pop {r4-r11, pc}\n"
      "5:\n"
      "mvns r3, r3\n"
      "lsls r4, r3\n"
      "asr r5, r12, #1\n"
      "smmlar r5, r4, r2, r5\n"
      "ssat r5, #8, r5\n"
      "b 4b\n");
}

#else

static void run_quads(const struct quads *quads, const int8_t *weights) {
  const int32_t groups = 4 * quads->turns - (int32_t)quads->skip;
  for (int32_t o = 0; o < OUTPUTS * quads->count; ++o) {
    const int8_t *w = weights + o / OUTPUTS * OUTPUTS * 4 * groups + o % OUTPUTS * 4;
    int32_t sum = quads->bias[o];
    for (int32_t group = 0; group < groups; ++group) {
      const uint32_t x = tflash_load_word(quads->input + 4 * group);
      sum = tflash_smlad(tflash_sxtb16(tflash_load_word(w)), tflash_sxtb16(x), sum);
      sum = tflash_smlad(tflash_sxtb16_odd(tflash_load_word(w)), tflash_sxtb16_odd(x), sum);
      w += 4 * OUTPUTS;
    }
    quads->output[o] =
        tflash_requantize_twice((int32_t)((uint32_t)sum << 1), quads->multipliers[o * quads->multiplier_step / 4],
                                quads->codes[o * quads->code_step], quads->doubled_zero);
  }
}

#endif

/* One of the outputs left over. */
static int8_t run_one(const struct tflash_fully_connected_s8_dsp_params *p, const int8_t *input, int32_t depth,
                      int32_t o) {
  const int8_t *w = p->weights + o * depth;
  const int32_t q = p->per_channel != 0 ? o : 0;
  int32_t sum = p->bias[o];
  for (int32_t d = 0; d < depth; d += 4) {
    const uint32_t x = tflash_load_word(input + d);
    sum = tflash_smlad(tflash_sxtb16(tflash_load_word(w + d)), tflash_sxtb16(x), sum);
    sum = tflash_smlad(tflash_sxtb16_odd(tflash_load_word(w + d)), tflash_sxtb16_odd(x), sum);
  }
  return tflash_requantize_twice((int32_t)((uint32_t)sum << 1), p->multipliers[q], p->codes[q], p->doubled_zero);
}

void tflash_fully_connected_s8_dsp(const struct tflash_fully_connected_s8_dsp_params *p, const int8_t *input,
                                   int8_t *output) {
  const int32_t groups = (p->depth + 3) >> 2;
  const int32_t quads = p->outputs / OUTPUTS;
  for (int32_t b = 0; b < p->batches; ++b) {
    const int8_t *x = input;
    if (p->scratch != NULL) {
      int8_t *copy = (int8_t *)p->scratch;
      for (int32_t d = 0; d < 4 * groups; ++d) {
        copy[d] = d < p->depth ? input[d] : 0;
      }
      x = copy;
    }
    if (quads > 0) {
      const struct quads all = {
          .input = x,
          .skip = (uint32_t)-groups & 3u,
          .turns = (groups + 3) >> 2,
          .bias = p->bias,
          .multipliers = p->multipliers,
          .codes = p->codes,
          .output = output,
          .count = quads,
          .doubled_zero = p->doubled_zero,
          .multiplier_step = p->per_channel != 0 ? (int32_t)sizeof(int32_t) : 0,
          .code_step = p->per_channel != 0 ? 1 : 0,
      };
      run_quads(&all, p->weights);
    }
    for (int32_t o = quads * OUTPUTS; o < p->outputs; ++o) {
      output[o] = run_one(p, x, 4 * groups, o);
    }
    input += p->depth;
    output += p->outputs;
  }
  const int32_t codes = p->batches * p->outputs;
  tflash_clamp_codes(output - codes, codes, p->activation_min, p->activation_max);
}
