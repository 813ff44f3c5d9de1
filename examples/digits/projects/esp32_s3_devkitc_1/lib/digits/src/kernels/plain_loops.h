/* What includes this has loops written as they should be compiled. GCC at -O3 would add copies of them, for steps of 1 and
 * for each value of what does not change inside, which costs more flash than it saves time. Before it has assigned
 * registers it would move loads together, for which cores with 16 registers have too few. And it would compute anew where
 * a pointer has arrived: TFLASH_ADVANCED(pointer) behind an addition keeps it. */
#ifndef TFLASH_PLAIN_LOOPS_H
#define TFLASH_PLAIN_LOOPS_H

#if !defined(__clang__)
#pragma GCC optimize("no-unswitch-loops", "no-schedule-insns")
#if __GNUC__ >= 9
#pragma GCC optimize("no-version-loops-for-strides")
#endif
#endif

#define TFLASH_ADVANCED(pointer) __asm("" : "+r"(pointer));

#endif /* TFLASH_PLAIN_LOOPS_H */
