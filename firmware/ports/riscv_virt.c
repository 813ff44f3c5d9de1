/* QEMU's RISC-V virt machine: 16550 UART, retired-instruction counter, SiFive test device. */
#include "chip.h"

#define UART 0x10000000u
#define UART_INTERRUPTS 1u
#define UART_LINE_STATUS 5u
#define INTERRUPT_DATA_READY 0x01u
#define LINE_DATA_READY 0x01u
#define LINE_TX_EMPTY 0x20u

/* The platform's interrupt controller, RISC-V PLIC Specification 1.0: the UART is its source 10 here. */
#define PLIC_UART_PRIORITY 0x0C000028u
#define PLIC_ENABLE 0x0C002000u
#define PLIC_CLAIM 0x0C200004u
#define PLIC_UART (1u << 10)
#define MIE_EXTERNAL (1u << 11)

#define TEST_DEVICE 0x00100000u
#define TEST_RESET 0x7777u

static volatile uint8_t *uart(uint32_t offset) {
  return (volatile uint8_t *)(uintptr_t)(UART + offset);
}

void tflash_chip_init(void) {
  *uart(UART_INTERRUPTS) = INTERRUPT_DATA_READY;
}

/* Until the UART has an interrupt, which is never taken: mstatus.MIE stays 0. As nvic.h. */
static void sleep(void) {
  *tflash_register(PLIC_UART_PRIORITY) = 1;
  *tflash_register(PLIC_ENABLE) = PLIC_UART;
  __asm__ volatile(
      ".option push\n .option arch, +zicsr\n"
      " csrw mie, %0\n wfi\n"
      ".option pop"
      :
      : "r"(MIE_EXTERNAL)
      : "memory");
  *tflash_register(PLIC_CLAIM) = *tflash_register(PLIC_CLAIM);
}

int tflash_chip_uart_ready(void) {
  return (*uart(UART_LINE_STATUS) & LINE_DATA_READY) != 0;
}

uint8_t tflash_chip_uart_read(void) {
  while (!tflash_chip_uart_ready()) {
    sleep();
  }
  return *uart(0);
}

void tflash_chip_uart_write(uint8_t byte) {
  while ((*uart(UART_LINE_STATUS) & LINE_TX_EMPTY) == 0) {
  }
  *uart(0) = byte;
}

uint32_t tflash_chip_count(void) {
  uint32_t count;
  __asm__ volatile(
      ".option push\n .option arch, +zicsr\n"
      " csrr %0, minstret\n"
      ".option pop"
      : "=r"(count));
  return count;
}

_Noreturn void tflash_chip_reset(void) {
  for (;;) {
    *tflash_register(TEST_DEVICE) = TEST_RESET;
  }
}
