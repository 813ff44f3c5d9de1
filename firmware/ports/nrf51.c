/* Nordic nRF51 (BBC micro:bit): UART0, TIMER0. Registers: nRF51 Series Reference Manual. */
#include "chip.h"
#include "nvic.h"

#define UART_START_RX 0x40002000u
#define UART_START_TX 0x40002008u
#define UART_RX_READY 0x40002108u
#define UART_TX_READY 0x4000211Cu
#define UART_INTERRUPTS 0x40002304u
#define UART_INTERRUPT_RX_READY (1u << 2)
#define UART_ENABLE 0x40002500u
#define UART_PIN_TX 0x4000250Cu
#define UART_PIN_RX 0x40002514u
#define UART_RX_DATA 0x40002518u
#define UART_TX_DATA 0x4000251Cu
#define UART_BAUD 0x40002524u
#define BAUD_115200 0x01D7E000u
#define PIN_TX 24u /* micro:bit schematic: to the interface chip */
#define PIN_RX 25u

#define TIMER_START 0x40008000u
#define TIMER_CAPTURE_0 0x40008040u
#define TIMER_BIT_MODE 0x40008508u
#define TIMER_PRESCALER 0x40008510u
#define TIMER_CC_0 0x40008540u
#define BIT_MODE_32 3u

void tflash_chip_init(void) {
  *tflash_register(UART_PIN_TX) = PIN_TX;
  *tflash_register(UART_PIN_RX) = PIN_RX;
  *tflash_register(UART_BAUD) = BAUD_115200;
  *tflash_register(UART_ENABLE) = 4;
  *tflash_register(UART_START_RX) = 1;
  *tflash_register(UART_START_TX) = 1;
  *tflash_register(UART_INTERRUPTS) = UART_INTERRUPT_RX_READY;
  *tflash_register(TIMER_BIT_MODE) = BIT_MODE_32;
  *tflash_register(TIMER_PRESCALER) = 0; /* 16 MHz */
  *tflash_register(TIMER_START) = 1;
}

int tflash_chip_uart_ready(void) {
  return *tflash_register(UART_RX_READY) != 0;
}

uint8_t tflash_chip_uart_read(void) {
  while (!tflash_chip_uart_ready()) {
    tflash_nvic_sleep();
  }
  *tflash_register(UART_RX_READY) = 0; /* before the data: reading that lets the next byte in */
  return (uint8_t)*tflash_register(UART_RX_DATA);
}

void tflash_chip_uart_write(uint8_t byte) {
  *tflash_register(UART_TX_READY) = 0;
  *tflash_register(UART_TX_DATA) = byte;
  while (*tflash_register(UART_TX_READY) == 0) {
  }
}

uint32_t tflash_chip_count(void) {
  *tflash_register(TIMER_CAPTURE_0) = 1;
  return *tflash_register(TIMER_CC_0);
}

_Noreturn void tflash_chip_reset(void) {
  tflash_nvic_reset();
}
