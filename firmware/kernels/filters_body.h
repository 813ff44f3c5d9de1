/* The loops of filters_s8.c and filters_s8_w4.c, which hold the contract.
 * They say what weights are (weights.h) and how TFLASH_BODY, the function, is declared. */
#ifndef TFLASH_FILTERS_BODY_H
#define TFLASH_FILTERS_BODY_H

#include "filters_s8.h"

#include <stddef.h>

#include "requant.h"
#include "weights.h"

#define TFLASH_TOGETHER 16 /* sums that wait for the end of their window, a multiple of 4 */

/* No load is moved up over this: there are no registers for codes and weights to come. */
#define TFLASH_IN_ORDER __asm volatile("" ::: "memory");
#ifdef __arm__
#define TFLASH_MOVED(pointer) __asm("" : "+r"(pointer)); /* by its load, not by an addition after some loads */
#else
#define TFLASH_MOVED(pointer)
#endif

#define TFLASH_FOUR(TERM) TERM(s0, f0) TERM(s1, f1) TERM(s2, f2) TERM(s3, f3)
#define TFLASH_ONE(TERM) TERM(s0, f0)

#if TFLASH_INT4_WEIGHTS

#define TFLASH_AT(weights, index) ((weights) + ((index) >> 1))
#define TFLASH_FOURS(size, count) (((size) & 1) == 0 ? (count) & ~3 : 0)

#define TFLASH_LOW(sum, filter) sum += x * tflash_low_nibble(*filter);
#define TFLASH_HIGH(sum, filter) sum += x * tflash_high_nibble(*filter++);
#define TFLASH_BOTH(sum, filter)            \
  {                                         \
    const int8_t pair = *filter++;          \
    TFLASH_MOVED(filter)                    \
    sum += x * tflash_low_nibble(pair);     \
    sum += next * tflash_high_nibble(pair); \
  }
#define TFLASH_RUN(EACH)                 \
  int32_t left = run;                    \
  if ((w & 1) != 0) {                    \
    const int32_t x = *in++ + offset;    \
    EACH(TFLASH_HIGH)                    \
    --left;                              \
  }                                      \
  for (; left >= 2; left -= 2) {         \
    const int32_t x = in[0] + offset;    \
    const int32_t next = in[1] + offset; \
    in += 2;                             \
    EACH(TFLASH_BOTH)                    \
    TFLASH_IN_ORDER                      \
  }                                      \
  if (left != 0) {                       \
    const int32_t x = *in + offset;      \
    EACH(TFLASH_LOW)                     \
  }
#define TFLASH_RUN_OF_FOUR TFLASH_RUN(TFLASH_FOUR)
#define TFLASH_RUN_OF_ONE TFLASH_RUN(TFLASH_ONE)

#else

#define TFLASH_AT(weights, index) ((weights) + (index))
#define TFLASH_FOURS(size, count) ((count) & ~3)

#define TFLASH_TERM(sum, filter) \
  sum += x * *filter++;          \
  TFLASH_MOVED(filter)
#define TFLASH_STEP(EACH, OFFSET)       \
  {                                     \
    const int32_t x = *in++ + (OFFSET); \
    TFLASH_MOVED(in)                    \
    EACH(TFLASH_TERM)                   \
    TFLASH_IN_ORDER                     \
  }
#define TFLASH_STEPS_OF_FOUR(OFFSET)                                  \
  while (in != end) {                                                 \
    TFLASH_STEP(TFLASH_FOUR, OFFSET) TFLASH_STEP(TFLASH_FOUR, OFFSET) \
    TFLASH_STEP(TFLASH_FOUR, OFFSET) TFLASH_STEP(TFLASH_FOUR, OFFSET) \
  }
#define TFLASH_RUN_OF_FOUR             \
  const int8_t *end = in + (run & ~3); \
  if (offset == 0) {                   \
    TFLASH_STEPS_OF_FOUR(0)            \
  } else {                             \
    TFLASH_STEPS_OF_FOUR(offset)       \
  }                                    \
  end += run & 3;                      \
  while (in != end) {                  \
    TFLASH_STEP(TFLASH_FOUR, offset)   \
  }
#define TFLASH_RUN_OF_ONE           \
  const int8_t *end = in + run;     \
  while (in != end) {               \
    TFLASH_STEP(TFLASH_ONE, offset) \
  }

#endif

#if !TFLASH_INT4_WEIGHTS && defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1

/* Most instructions reach eight registers; the sums live in others, which can be added to.
 * r0; r1, r4, r5, r3: the ends of the run in codes; filters. r2: -run and up. r6, r7: a code, a weight. r12: offset. */
__attribute__((naked, noinline)) static void run_of_four(
    __attribute__((unused)) const int8_t *in, __attribute__((unused)) const int8_t *filter,
    __attribute__((unused)) int32_t run, __attribute__((unused)) int32_t size,
    __attribute__((unused)) int32_t offset, __attribute__((unused)) int32_t sums[4]) {
  __asm(
      ".syntax unified\n"
      "push {r4-r7, lr}\n"
      "mov r4, r8\n"
      "mov r5, r9\n"
      "mov r6, r10\n"
      "mov r7, r11\n"
      "push {r4-r7}\n"
      "ldr r4, [sp, #36]\n"
      "mov r12, r4\n"
      "ldr r4, [sp, #40]\n"
      "ldm r4, {r4-r7}\n"
      "mov r8, r4\n"
      "mov r9, r5\n"
      "mov r10, r6\n"
      "mov r11, r7\n"
      "adds r0, r0, r2\n"
      "adds r1, r1, r2\n"
      "adds r4, r1, r3\n"
      "adds r5, r4, r3\n"
      "adds r3, r5, r3\n"
      "rsbs r2, r2, #0\n"
      "1:\n"
      "ldrsb r6, [r0, r2]\n"
      "add r6, r12\n"
      "ldrsb r7, [r1, r2]\n"
      "muls r7, r6\n"
      "add r8, r7\n"
      "ldrsb r7, [r4, r2]\n"
      "muls r7, r6\n"
      "add r9, r7\n"
      "ldrsb r7, [r5, r2]\n"
      "muls r7, r6\n"
      "add r10, r7\n"
      "ldrsb r7, [r3, r2]\n"
      "muls r7, r6\n"
      "add r11, r7\n"
      "adds r2, #1\n"
      "bne 1b\n"
      "ldr r0, [sp, #40]\n"
      "mov r4, r8\n"
      "mov r5, r9\n"
      "mov r6, r10\n"
      "mov r7, r11\n"
      "stm r0!, {r4-r7}\n"
      "pop {r4-r7}\n"
      "mov r8, r4\n"
      "mov r9, r5\n"
      "mov r10, r6\n"
      "mov r11, r7\n"
      "pop {r4-r7, pc}\n");
}

/* sums[k] += a run of codes by weights w + k * size, .. */
static inline void add_four(const struct tflash_filters *f, const int8_t *in, int32_t w, int32_t run, int32_t sums[4]) {
  run_of_four(in, f->weights + w, run, f->size, f->input_offset, sums);
}

#else

/* sums[k] += a run of codes by weights w + k * size, .. */
static inline void add_four(const struct tflash_filters *f, const int8_t *in, int32_t w, int32_t run, int32_t sums[4]) {
  const int32_t offset = f->input_offset;
  const int8_t *f0 = TFLASH_AT(f->weights, w);
  const int8_t *f1 = TFLASH_AT(f0, f->size);
  const int8_t *f2 = TFLASH_AT(f1, f->size);
  const int8_t *f3 = TFLASH_AT(f2, f->size);
  int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
  TFLASH_RUN_OF_FOUR
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
}

#endif

static inline int32_t dot(const struct tflash_filters *f, const int8_t *in, int32_t w, int32_t run) {
  const int32_t offset = f->input_offset;
  const int8_t *f0 = TFLASH_AT(f->weights, w);
  int32_t s0 = 0;
  TFLASH_RUN_OF_ONE
  return s0;
}

TFLASH_BODY(const struct tflash_filters *f, const struct tflash_window *window, const int8_t *input, int32_t begin,
            int32_t end, int8_t *output) {
  const int32_t *bias = f->bias;
  const int32_t *multipliers = f->multipliers;
  const int8_t *shifts = f->shifts;
  const int32_t own = f->per_channel != 0 ? -1 : 0;
  while (begin < end) {
    int32_t sums[TFLASH_TOGETHER];
    const int32_t some = end - begin < TFLASH_TOGETHER ? end - begin : TFLASH_TOGETHER;
    const int32_t fours = TFLASH_FOURS(f->size, some);
#if __GNUC__ >= 8
#pragma GCC unroll 1 /* not into a copy for each sum */
#endif
    for (int32_t k = 0; k < some; ++k) {
      sums[k] = bias != NULL ? bias[begin + k] : 0;
      TFLASH_IN_ORDER
    }
    for (int32_t plane = 0; plane < window->planes; ++plane) {
      for (int32_t r = 0; r < window->runs; ++r) {
        const int8_t *in = input + (plane * window->plane_input_step + r * window->run_input_step);
        int32_t w = begin * f->size + window->first + plane * window->plane_filter_step + r * window->run_filter_step;
        int32_t k = 0;
        for (; k < fours; k += 4) {
          add_four(f, in, w, window->run, sums + k);
          w += 4 * f->size;
        }
        for (; k < some; ++k) {
          sums[k] += dot(f, in, w, window->run);
          w += f->size;
        }
      }
    }
    for (int32_t k = 0; k < some; ++k) {
      const int32_t q = (begin + k) & own;
      const int32_t code = tflash_requantize(sums[k], multipliers[q], shifts[q]) + f->output_offset;
      *output++ = (int8_t)tflash_clamp(code, f->activation_min, f->activation_max);
    }
    begin += some;
  }
}

#endif /* TFLASH_FILTERS_BODY_H */
