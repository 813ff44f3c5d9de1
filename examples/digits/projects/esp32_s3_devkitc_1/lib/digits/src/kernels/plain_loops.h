/* What includes this has loops written as they should be compiled: GCC at -O3 would add copies of them, for steps of 1 and
 * for each value of what does not change inside, which costs more flash than it saves time. And before it has assigned
 * registers it would move loads together, for which Armv7-M has too few registers. */
#ifndef TFLASH_PLAIN_LOOPS_H
#define TFLASH_PLAIN_LOOPS_H

#if !defined(__clang__)
#pragma GCC optimize("no-unswitch-loops", "no-version-loops-for-strides")
#if defined(__arm__)
#pragma GCC optimize("no-schedule-insns")
#endif
#endif

#endif /* TFLASH_PLAIN_LOOPS_H */
