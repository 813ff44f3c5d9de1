/* What emulated.c needs of a chip: its UART, its counter, its reset. One .c file a family. */
#ifndef TFLASH_CHIP_H
#define TFLASH_CHIP_H

#include <stddef.h>
#include <stdint.h>

/* The UART can send and receive, and the counter runs. */
void tflash_chip_init(void);

/* Waits for a byte. */
uint8_t tflash_chip_uart_read(void);
/* True if tflash_chip_uart_read would return at once. */
int tflash_chip_uart_ready(void);
void tflash_chip_uart_write(uint8_t byte);

/* Free-running 32-bit up-counter. */
uint32_t tflash_chip_count(void);

_Noreturn void tflash_chip_reset(void);

static inline volatile uint32_t *tflash_register(uint32_t address) {
  return (volatile uint32_t *)(uintptr_t)address;
}

#endif /* TFLASH_CHIP_H */
