/* Arm semihosting, version 2.0, and the same calls on RISC-V: the emulated core asks the emulator for a service. */
#ifndef TFLASH_SEMIHOSTING_H
#define TFLASH_SEMIHOSTING_H

#include <stddef.h>
#include <stdint.h>

enum tflash_semihosting {
  TFLASH_SYS_OPEN = 0x01,
  TFLASH_SYS_WRITE0 = 0x04,
  TFLASH_SYS_WRITE = 0x05,
  TFLASH_SYS_READ = 0x06,
  TFLASH_SYS_EXIT_EXTENDED = 0x20,
  TFLASH_SYS_ELAPSED = 0x30 /* into the argument; QEMU's ticks are nanoseconds */
};

#define TFLASH_OPEN_READ 1u        /* fopen's "rb" */
#define TFLASH_OPEN_WRITE 5u       /* fopen's "wb" */
#define TFLASH_APPLICATION_EXIT 0x20026u

static inline uintptr_t tflash_semihosting(enum tflash_semihosting operation, const void *argument) {
#if defined(__riscv)
  register uintptr_t a0 __asm__("a0") = (uintptr_t)operation;
  register const void *a1 __asm__("a1") = argument;
  /* The three instructions must be uncompressed and must not cross a page. */
  __asm__ volatile(
      ".balign 16\n .option push\n .option norvc\n"
      " slli zero, zero, 0x1f\n ebreak\n srai zero, zero, 7\n"
      ".option pop"
      : "+r"(a0)
      : "r"(a1)
      : "memory");
  return a0;
#else
  register uintptr_t r0 __asm__("r0") = (uintptr_t)operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
#endif
}

/* Ends the emulator; `code` becomes the exit code of its process. */
_Noreturn static inline void tflash_semihosting_exit(uint32_t code) {
  const uintptr_t arguments[2] = {TFLASH_APPLICATION_EXIT, code};
  for (;;) {
    (void)tflash_semihosting(TFLASH_SYS_EXIT_EXTENDED, arguments);
  }
}

#endif /* TFLASH_SEMIHOSTING_H */
