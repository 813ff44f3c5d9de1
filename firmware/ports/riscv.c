/* Start of a RISC-V core in machine mode: global pointer, stack, traps. */
#include "semihosting.h"
#include "startup.h"

_Noreturn void tflash_trap(uint32_t cause);

__attribute__((naked, section(".tflash_first"), used)) void tflash_start(void) {
  __asm__ volatile(
      ".option push\n .option norelax\n .option arch, +zicsr\n"
      " la gp, __global_pointer$\n"
      " la sp, tflash_stack_top\n"
      " la t0, tflash_trap_entry\n"
      " csrw mtvec, t0\n"
      " j tflash_run_main\n"
      " .balign 4\n"
      "tflash_trap_entry:\n"
      " la sp, tflash_stack_top\n"
      " csrr a0, mcause\n"
      " j tflash_trap\n"
      ".option pop");
}

__attribute__((used)) _Noreturn void tflash_trap(uint32_t cause) {
  (void)tflash_semihosting(TFLASH_SYS_WRITE0, "tensorflash: the firmware took a trap\n");
  tflash_semihosting_exit(TFLASH_EXIT_RISCV_TRAP + (cause & 31u));
}
