/* Start of a Cortex-M in QEMU: the vectors, the floating point unit, .bss, newlib's semihosting. */
#include <stdint.h>

extern uint32_t __stack;
extern uint32_t __bss_start__;
extern uint32_t __bss_end__;
void initialise_monitor_handles(void);
_Noreturn void _exit(int code);
int main(void);
void reset_handler(void);
void fault_handler(void);

void reset_handler(void) {
#if defined(__ARM_FP)
  *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: CP10 and CP11 */
  __asm volatile("dsb\n\tisb");
#endif
  for (uint32_t *word = &__bss_start__; word < &__bss_end__; ++word) {
    *word = 0;
  }
  initialise_monitor_handles();
  _exit(main());
}

void fault_handler(void) {
  _exit(99);
}

struct vectors {
  const uint32_t *stack;
  void (*handlers[15])(void);
};

__attribute__((section(".vectors"), used)) static const struct vectors vectors = {
    &__stack,
    {reset_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler},
};
