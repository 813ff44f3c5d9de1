/* STM32F405 as QEMU has it: USART1, TIM2. Registers: RM0090, sections 18.4 and 30.6. Clocks and pins are not emulated. */
#include "chip.h"
#include "nvic.h"

#define USART_STATUS 0x40011000u
#define USART_DATA 0x40011004u
#define USART_BAUD 0x40011008u
#define USART_CONTROL 0x4001100Cu
#define STATUS_RX_FULL (1u << 5)
#define STATUS_TX_EMPTY (1u << 7)
#define CONTROL_ENABLE_RX_TX 0x200Cu
#define CONTROL_RX_INTERRUPT (1u << 5)
#define BAUD_115200 139u /* of 16 MHz */

#define TIMER_CONTROL 0x40000000u
#define TIMER_COUNT 0x40000024u
#define TIMER_PRESCALER 0x40000028u
#define TIMER_RELOAD 0x4000002Cu

void tflash_chip_init(void) {
  *tflash_register(USART_BAUD) = BAUD_115200;
  *tflash_register(USART_CONTROL) = CONTROL_ENABLE_RX_TX | CONTROL_RX_INTERRUPT;
  (void)*tflash_register(USART_DATA); /* wakes QEMU's receiver */
  *tflash_register(TIMER_PRESCALER) = 39;
  *tflash_register(TIMER_RELOAD) = UINT32_MAX;
  *tflash_register(TIMER_CONTROL) = 1;
}

int tflash_chip_uart_ready(void) {
  return (*tflash_register(USART_STATUS) & STATUS_RX_FULL) != 0;
}

uint8_t tflash_chip_uart_read(void) {
  while (!tflash_chip_uart_ready()) {
    tflash_nvic_sleep();
  }
  return (uint8_t)*tflash_register(USART_DATA);
}

void tflash_chip_uart_write(uint8_t byte) {
  while ((*tflash_register(USART_STATUS) & STATUS_TX_EMPTY) == 0) {
  }
  *tflash_register(USART_DATA) = byte;
}

uint32_t tflash_chip_count(void) {
  return *tflash_register(TIMER_COUNT);
}

_Noreturn void tflash_chip_reset(void) {
  tflash_nvic_reset();
}
