/* tflash_dot_s16 by VMLALDAVA: eight products at once into 64 bits. */
#ifndef TFLASH_DOT_S16_MVE_H
#define TFLASH_DOT_S16_MVE_H

#include <stdint.h>

/* count: at least 1. */
static inline int64_t tflash_dot_s16_mve(const int16_t *codes, const int8_t *weights, int32_t count) {
  int64_t sum = 0;
  __asm volatile(
      "dlstp.16 lr, %[count]\n"
      "1:\n"
      "vldrh.16 q0, [%[codes]], #16\n"
      "vldrb.s16 q1, [%[weights]], #8\n"
      "vmlaldava.s16 %Q[sum], %R[sum], q0, q1\n"
      "letp lr, 1b\n"
      : [codes] "+r"(codes), [weights] "+l"(weights), [sum] "+r"(sum)
      : [count] "r"(count)
      : "q0", "q1", "lr", "memory");
  return sum;
}

#endif /* TFLASH_DOT_S16_MVE_H */
