/* Start of an Arm Cortex-M: vector table, FPU and MVE, stack limit, faults. */
#include "semihosting.h"
#include "startup.h"

#define CPACR 0xE000ED88u
#define CPACR_CP10_CP11 (0xFu << 20)

#if defined(__ARM_ARCH_8M_MAIN__) || defined(__ARM_ARCH_8_1M_MAIN__)
#define HAS_STACK_LIMIT
#endif

_Noreturn void tflash_fault(void);

/* On a fresh stack: the old one may be what is wrong. */
__attribute__((naked)) static void fault(void) {
  __asm__ volatile(
#ifdef HAS_STACK_LIMIT
      "movs r0, #0\n msr msplim, r0\n"
#endif
      "ldr r0, =tflash_stack_top\n mov sp, r0\n"
      "bl tflash_fault\n"
      ".ltorg");
}

__attribute__((used)) _Noreturn void tflash_fault(void) {
  uint32_t exception;
  __asm__ volatile("mrs %0, ipsr" : "=r"(exception));
  (void)tflash_semihosting(TFLASH_SYS_WRITE0, "tensorflash: the firmware took a fault\n");
  tflash_semihosting_exit(TFLASH_EXIT_ARM_EXCEPTION + exception);
}

typedef void (*vector)(void);

__attribute__((section(".tflash_first"), used)) static const vector vectors[16] = {
    (vector)(uintptr_t)tflash_stack_top,
    tflash_start,
    fault, /* NMI */
    fault, /* HardFault */
    fault, /* MemManage */
    fault, /* BusFault */
    fault, /* UsageFault */
    fault, /* SecureFault */
    0,
    0,
    0,
    fault, /* SVCall */
    fault, /* DebugMonitor */
    0,
    fault, /* PendSV */
    fault, /* SysTick */
};

void tflash_start(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  *(volatile uint32_t *)CPACR |= CPACR_CP10_CP11;
  __asm__ volatile("dsb\n isb" ::: "memory");
#endif
#ifdef HAS_STACK_LIMIT
  /* A stack that grows into the arena faults instead of corrupting it. */
  __asm__ volatile("msr msplim, %0" : : "r"(tflash_bss_end) : "memory");
#endif
  tflash_run_main();
}
