/* The Arduino framework: Serial, whatever the board makes of it. */
#include <Arduino.h>

#include "framework.h"

void setup() {
  (void)tflash_main();
  tflash_port_finish();
}

void loop() {
}

void tflash_framework_init(void) {
  Serial.begin(TFLASH_BAUD);
}

size_t tflash_framework_read(uint8_t *data, size_t capacity) {
  while (Serial.available() <= 0) {
    yield();
  }
  size_t stored = 0;
  while (stored < capacity && Serial.available() > 0) {
    data[stored++] = static_cast<uint8_t>(Serial.read());
  }
  return stored;
}

void tflash_framework_write(const uint8_t *data, size_t length) {
  while (length > 0) {
    const size_t sent = Serial.write(data, length);
    if (sent == 0 && !Serial) {
      return;
    }
    data += sent;
    length -= sent;
  }
  Serial.flush();
}

uint32_t tflash_framework_micros(void) {
  return static_cast<uint32_t>(micros());
}

#ifndef TFLASH_HAS_DWT
enum tflash_counter tflash_framework_counter(void) {
#ifdef ARDUINO_ARCH_RP2040
  return TFLASH_COUNTER_CYCLES;
#else
  return TFLASH_COUNTER_NONE;
#endif
}

uint32_t tflash_framework_count(void) {
#ifdef ARDUINO_ARCH_RP2040
  return rp2040.getCycleCount();
#else
  return 0;
#endif
}
#endif

#ifndef __ARM_ARCH
void tflash_framework_reset(void) {
#ifdef ESP_PLATFORM
  ESP.restart();
#endif
  for (;;) {
  }
}
#endif
