/* ESP-IDF: UART 0, or with TFLASH_USB_SERIAL the chip's own USB serial port. */
#include "esp_cpu.h"
#include "esp_err.h"
#include "esp_system.h"
#include "esp_timer.h"
#include "framework.h"
#include "freertos/FreeRTOS.h"

#ifdef TFLASH_USB_SERIAL
#include "driver/usb_serial_jtag.h"
#else
#include "driver/uart.h"
#endif

#define INPUT_BYTES 1024

void app_main(void) {
  (void)tflash_main();
  tflash_port_finish();
}

#ifdef TFLASH_USB_SERIAL
void tflash_framework_init(void) {
  usb_serial_jtag_driver_config_t config = {.tx_buffer_size = INPUT_BYTES, .rx_buffer_size = INPUT_BYTES};
  ESP_ERROR_CHECK(usb_serial_jtag_driver_install(&config));
}

static size_t receive(uint8_t *data, size_t capacity, TickType_t wait) {
  const int stored = usb_serial_jtag_read_bytes(data, (uint32_t)capacity, wait);
  return stored > 0 ? (size_t)stored : 0;
}

static size_t transmit(const uint8_t *data, size_t length) {
  const int sent = usb_serial_jtag_write_bytes(data, length, pdMS_TO_TICKS(1000));
  return sent > 0 ? (size_t)sent : 0;
}
#else
void tflash_framework_init(void) {
  const uart_config_t config = {
      .baud_rate = TFLASH_BAUD,
      .data_bits = UART_DATA_8_BITS,
      .parity = UART_PARITY_DISABLE,
      .stop_bits = UART_STOP_BITS_1,
      .flow_ctrl = UART_HW_FLOWCTRL_DISABLE,
      .source_clk = UART_SCLK_DEFAULT,
  };
  ESP_ERROR_CHECK(uart_driver_install(UART_NUM_0, INPUT_BYTES, 0, 0, NULL, 0));
  ESP_ERROR_CHECK(uart_param_config(UART_NUM_0, &config));
}

static size_t receive(uint8_t *data, size_t capacity, TickType_t wait) {
  const int stored = uart_read_bytes(UART_NUM_0, data, (uint32_t)capacity, wait);
  return stored > 0 ? (size_t)stored : 0;
}

static size_t transmit(const uint8_t *data, size_t length) {
  const int sent = uart_write_bytes(UART_NUM_0, data, length);
  return sent > 0 ? (size_t)sent : 0;
}
#endif

size_t tflash_framework_read(uint8_t *data, size_t capacity) {
  while (receive(data, 1, portMAX_DELAY) == 0) {
  }
  return 1 + (capacity > 1 ? receive(data + 1, capacity - 1, 0) : 0);
}

void tflash_framework_write(const uint8_t *data, size_t length) {
  while (length > 0) {
    const size_t sent = transmit(data, length);
    if (sent == 0) {
      return; /* nobody has opened the port */
    }
    data += sent;
    length -= sent;
  }
}

uint32_t tflash_framework_micros(void) {
  return (uint32_t)esp_timer_get_time();
}

enum tflash_counter tflash_framework_counter(void) {
  return TFLASH_COUNTER_CYCLES;
}

uint32_t tflash_framework_count(void) {
  return (uint32_t)esp_cpu_get_cycle_count();
}

void tflash_framework_reset(void) {
  esp_restart();
}
