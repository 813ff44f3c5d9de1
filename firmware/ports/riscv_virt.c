/* QEMU's RISC-V virt machine: 16550 UART, retired-instruction counter, SiFive test device. */
#include "chip.h"

#define UART 0x10000000u
#define UART_LINE_STATUS 5u
#define LINE_DATA_READY 0x01u
#define LINE_TX_EMPTY 0x20u

#define TEST_DEVICE 0x00100000u
#define TEST_RESET 0x7777u

static volatile uint8_t *uart(uint32_t offset) {
  return (volatile uint8_t *)(uintptr_t)(UART + offset);
}

void tflash_chip_init(void) {
}

int tflash_chip_uart_ready(void) {
  return (*uart(UART_LINE_STATUS) & LINE_DATA_READY) != 0;
}

uint8_t tflash_chip_uart_read(void) {
  while (!tflash_chip_uart_ready()) {
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
