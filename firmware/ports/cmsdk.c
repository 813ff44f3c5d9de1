/* Arm MPS2 and MPS3 FPGA images: CMSDK UART, and a CMSDK timer or the SSE subsystem's counter.
 *   TFLASH_UART_BASE          APB UART (Arm DDI 0479, section 4.3)
 *   TFLASH_TIMER_BASE         APB timer (Arm DDI 0479, section 4.1), or
 *   TFLASH_SSE_COUNTER_BASE   system counter: control frame; its status frame is 4 KiB above (Arm 101370) */
#include "chip.h"
#include "nvic.h"

#define UART_DATA 0x00u
#define UART_STATE 0x04u
#define UART_CONTROL 0x08u
#define UART_INTERRUPT 0x0Cu
#define UART_BAUD_DIVIDER 0x10u
#define UART_STATE_TX_FULL 1u
#define UART_STATE_RX_FULL 2u
#define UART_CONTROL_TX_RX 3u
#define UART_CONTROL_RX_INTERRUPT 8u
#define UART_INTERRUPT_RX 2u

#define TIMER_CONTROL 0x00u
#define TIMER_VALUE 0x04u
#define TIMER_RELOAD 0x08u

#define SSE_CONTROL 0x00u
#define SSE_STATUS_LOW 0x1000u

static volatile uint32_t *uart(uint32_t offset) {
  return tflash_register(TFLASH_UART_BASE + offset);
}

void tflash_chip_init(void) {
  *uart(UART_BAUD_DIVIDER) = 16; /* the least that is allowed; emulators have no baud rate */
  *uart(UART_CONTROL) = UART_CONTROL_TX_RX | UART_CONTROL_RX_INTERRUPT;
  (void)*uart(UART_DATA); /* QEMU 7.2 may else sleep over the first byte: only this wakes its receiver */
#ifdef TFLASH_SSE_COUNTER_BASE
  *tflash_register(TFLASH_SSE_COUNTER_BASE + SSE_CONTROL) = 1;
#else
  *tflash_register(TFLASH_TIMER_BASE + TIMER_RELOAD) = UINT32_MAX;
  *tflash_register(TFLASH_TIMER_BASE + TIMER_VALUE) = UINT32_MAX;
  *tflash_register(TFLASH_TIMER_BASE + TIMER_CONTROL) = 1;
#endif
}

int tflash_chip_uart_ready(void) {
  return (*uart(UART_STATE) & UART_STATE_RX_FULL) != 0;
}

uint8_t tflash_chip_uart_read(void) {
  while (!tflash_chip_uart_ready()) {
    tflash_nvic_sleep();
    *uart(UART_INTERRUPT) = UART_INTERRUPT_RX; /* over, before the state is looked at */
  }
  return (uint8_t)*uart(UART_DATA);
}

void tflash_chip_uart_write(uint8_t byte) {
  while ((*uart(UART_STATE) & UART_STATE_TX_FULL) != 0) {
  }
  *uart(UART_DATA) = byte;
}

uint32_t tflash_chip_count(void) {
#ifdef TFLASH_SSE_COUNTER_BASE
  return *tflash_register(TFLASH_SSE_COUNTER_BASE + SSE_STATUS_LOW);
#else
  return ~*tflash_register(TFLASH_TIMER_BASE + TIMER_VALUE); /* counts down */
#endif
}

_Noreturn void tflash_chip_reset(void) {
  tflash_nvic_reset();
}
