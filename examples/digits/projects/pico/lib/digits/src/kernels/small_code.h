/* What includes this is compiled for size: its loops that count are assembly, or it is no part of the time.
 *
 * GCC 12 at -Os, for cores with low-overhead loops, deletes the comparison that ends a loop although the code behind it
 * still uses its flags (`for (; n >= 2; n -= 2) {..} if (n > 0) {..}` always took the branch): it must not count loops
 * in a register there. */
#ifndef TFLASH_SMALL_CODE_H
#define TFLASH_SMALL_CODE_H

#if !defined(__clang__) && defined(__ARM_FEATURE_MVE)
#pragma GCC optimize("Os", "no-branch-count-reg")
#elif !defined(__clang__)
#pragma GCC optimize("Os")
#endif

#endif /* TFLASH_SMALL_CODE_H */
