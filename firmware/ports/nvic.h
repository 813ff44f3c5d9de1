/* Cortex-M interrupts that end a sleep and are never taken, and the reset. Armv7-M Architecture Reference Manual, B3. */
#ifndef TFLASH_NVIC_H
#define TFLASH_NVIC_H

#include "chip.h"

#define TFLASH_NVIC_ENABLE 0xE000E100u
#define TFLASH_NVIC_CLEAR_PENDING 0xE000E280u
#define TFLASH_NVIC_WORDS 4u /* 128 interrupts */

#define TFLASH_AIRCR 0xE000ED0Cu
#define TFLASH_AIRCR_SYSRESETREQ 0x05FA0004u

/* Sleeps until there is an interrupt; which there are depends on what the peripherals were told. A core that polls
 * instead keeps QEMU from handing over the next byte. */
static inline void tflash_nvic_sleep(void) {
  __asm__ volatile("cpsid i" ::: "memory");
  for (uint32_t word = 0; word < TFLASH_NVIC_WORDS; word++) {
    *tflash_register(TFLASH_NVIC_ENABLE + 4 * word) = UINT32_MAX;
  }
  __asm__ volatile("wfi" ::: "memory");
  for (uint32_t word = 0; word < TFLASH_NVIC_WORDS; word++) {
    *tflash_register(TFLASH_NVIC_CLEAR_PENDING + 4 * word) = UINT32_MAX;
  }
}

_Noreturn static inline void tflash_nvic_reset(void) {
  for (;;) {
    *tflash_register(TFLASH_AIRCR) = TFLASH_AIRCR_SYSRESETREQ;
  }
}

#endif /* TFLASH_NVIC_H */
