/* Sum or difference of two tensors, int8 in, int8 out, each repeated along the dimensions where the other is longer, for
 * cores with SMMLAR.
 *   output = clamp(requant(+-(coarse - its zero point) * 2^19 +- requant((fine - its zero point) * 2^20)))
 *   coarse  int8, the input with the larger scale: its multiplier in TFLM's ADD and SUB is 1/2, which is exact
 *   fine    int8; any shapes that broadcast to the output's; neighbouring dimensions are merged to four
 *   output  [shape] int8
 * Bit-exact with: TFLM's ADD and SUB (double rounding).
 * Overflow: none possible. Offset codes are within +-255, shifted left by at most 22; the sum, doubled, is below 2^29.
 * Scratch: none. The output may be an input that has the output's shape; else they must not overlap.
 *
 * Two elements at a time: 34 instructions, of which ten multiply; 43 cycles on a Cortex-M4, where the two LDM of
 * constants, for which there are no registers, take 5 and 7 cycles and the rest one or two. The loop is 130 bytes. */
#include "add_s8_dsp.h"

#include "dsp.h"

/* Some times two elements. The assembly knows the order of the fields. */
struct pairs {
  int32_t fine_left; /* 2^fine_left, as a factor */
  int32_t fine_offset;
  int32_t fine_multiplier;
  int32_t fine_rounding; /* 2^(fine_right - 1) */
  int32_t fine_right;
  int32_t coarse_factor;
  int32_t offset;
  int32_t fine_factor;
  int32_t multiplier;
  int32_t rounding; /* doubled_zero << code */
  int32_t code;
  int32_t count; /* at least 1 */
  int32_t step;  /* from the first element of a pair to the second: 1, or 0 for one element twice */
};

#ifdef TFLASH_DSP_ASM

/* r1, r2, r3: coarse, fine, output; r0: count, lr: step; r9, r10: the elements. */
__attribute__((naked, noinline)) static void run_pairs(__attribute__((unused)) const struct pairs *pairs,
                                                       __attribute__((unused)) const int8_t *coarse,
                                                       __attribute__((unused)) const int8_t *fine,
                                                       __attribute__((unused)) int8_t *output) {
  __asm(
      "push {r4-r11, lr}\n"
      "sub sp, sp, #44\n"
      "ldm r0!, {r4-r8}\n"
      "stm sp, {r4-r8}\n"
      "ldm r0!, {r4-r9}\n"
      "add r10, sp, #20\n"
      "stm r10, {r4-r9}\n"
      "ldrd r0, lr, [r0]\n"
      "1:\n"
      "ldm sp, {r4-r8}\n"
      "ldrsb r9, [r2]\n"
      "ldrsb r10, [r2, lr]\n"
      "add r2, r2, lr, lsl #1\n"
      "mla r9, r9, r4, r5\n"
      "mla r10, r10, r4, r5\n"
      "add r11, r7, r9, asr #31\n"
      "smmlar r9, r9, r6, r11\n"
      "add r11, r7, r10, asr #31\n"
      "smmlar r10, r10, r6, r11\n"
      "asr r9, r9, r8\n"
      "asr r10, r10, r8\n"
      "add r12, sp, #20\n"
      "ldm r12, {r4-r8, r12}\n"
      "ldrsb r11, [r1]\n"
      "mla r11, r11, r4, r5\n"
      "mla r9, r9, r6, r11\n"
      "ldrsb r11, [r1, lr]\n"
      "mla r11, r11, r4, r5\n"
      "mla r10, r10, r6, r11\n"
      "add r1, r1, lr, lsl #1\n"
      "add r11, r8, r9, asr #31\n"
      "smmlar r9, r9, r7, r11\n"
      "add r11, r8, r10, asr #31\n"
      "smmlar r10, r10, r7, r11\n"
      "asr r9, r9, r12\n"
      "asr r10, r10, r12\n"
      "ssat r9, #8, r9, asr #1\n"
      "ssat r10, #8, r10, asr #1\n"
      "strb r9, [r3]\n"
      "strb r10, [r3, lr]\n"
      "add r3, r3, lr, lsl #1\n"
      "subs r0, r0, #1\n"
      "bne 1b\n"
      "add sp, sp, #44\n"
      "pop {r4-r11, pc}\n");
}

#else

static void run_pairs(const struct pairs *pairs, const int8_t *coarse, const int8_t *fine, int8_t *output) {
  const int32_t count = pairs->step == 0 ? 1 : 2 * pairs->count;
  for (int32_t i = 0; i < count; ++i) {
    const int32_t x = fine[i] * pairs->fine_left + pairs->fine_offset;
    const int32_t y = tflash_smmlar(x, pairs->fine_multiplier, pairs->fine_rounding + (x >> 31)) >> pairs->fine_right;
    const int32_t twice = pairs->offset + coarse[i] * pairs->coarse_factor + y * pairs->fine_factor;
    const int32_t result = tflash_smmlar(twice, pairs->multiplier, pairs->rounding + (twice >> 31)) >> pairs->code;
    output[i] = (int8_t)tflash_ssat8_half(result);
  }
}

#endif

/* One run of the innermost loop. An input that is one code for all of the run goes into the offset of its product, and the
 * codes that are read in its place count nothing. */
static void add_run(const struct tflash_add_s8_dsp_params *p, const int8_t *coarse, const int8_t *fine, int8_t *output) {
  const int32_t count = p->shape[3];
  struct pairs pairs = {
      .fine_left = (int32_t)(UINT32_C(1) << p->fine_left),
      .fine_offset = p->fine_offset,
      .fine_multiplier = p->fine_multiplier,
      .fine_rounding = (int32_t)(UINT32_C(1) << (p->fine_right - 1)),
      .fine_right = p->fine_right,
      .coarse_factor = p->coarse_factor,
      .offset = p->offset,
      .fine_factor = p->fine_factor,
      .multiplier = p->multiplier,
      .rounding = (int32_t)((uint32_t)(int32_t)p->doubled_zero << p->code),
      .code = p->code,
      .count = count >> 1,
      .step = 1,
  };
  if (p->coarse_strides[3] == 0) {
    pairs.offset += *coarse * pairs.coarse_factor;
    pairs.coarse_factor = 0;
    coarse = fine;
  }
  if (p->fine_strides[3] == 0) {
    pairs.fine_offset += *fine * pairs.fine_left;
    pairs.fine_left = 0;
    fine = coarse;
  }
  if (pairs.count > 0) {
    run_pairs(&pairs, coarse, fine, output);
  }
  if ((count & 1) != 0) {
    const int32_t last = count - 1;
    pairs.count = 1;
    pairs.step = 0;
    run_pairs(&pairs, coarse + last, fine + last, output + last);
  }
}

void tflash_add_s8_dsp(const struct tflash_add_s8_dsp_params *p, const int8_t *coarse, const int8_t *fine,
                       int8_t *output) {
  const int32_t *const m = p->coarse_strides;
  const int32_t *const n = p->fine_strides;
  int8_t *out = output;
  for (int32_t i = 0; i < p->shape[0]; ++i) {
    for (int32_t j = 0; j < p->shape[1]; ++j) {
      for (int32_t k = 0; k < p->shape[2]; ++k) {
        add_run(p, coarse + i * m[0] + j * m[1] + k * m[2], fine + i * n[0] + j * n[1] + k * n[2], out);
        out += p->shape[3];
      }
    }
  }
  tflash_clamp_codes(output, (int32_t)(out - output), p->activation_min, p->activation_max);
}
