/* The port of a real board: the framework's serial port behind a buffer, the core's cycle counter and reset. */
#include <string.h>

#include "framework.h"
#include "port.h"

#define OUTPUT_BYTES 320

/* Armv7-M Architecture Reference Manual, C1.6.5 and C1.8; Armv8-M, D1.2. */
#define DEMCR 0xE000EDFCu
#define DEMCR_TRCENA (1u << 24)
#define DWT_CTRL 0xE0001000u
#define DWT_CTRL_CYCCNTENA 1u
#define DWT_CYCCNT 0xE0001004u
#define DWT_LAR 0xE0001FB0u /* Cortex-M7 alone has the lock; elsewhere the write is ignored */
#define DWT_LAR_KEY 0xC5ACCE55u
#define AIRCR 0xE000ED0Cu
#define AIRCR_SYSRESETREQ 0x05FA0004u

static struct {
  size_t pending;
  uint8_t output[OUTPUT_BYTES];
} stream;

#ifdef __ARM_ARCH
static volatile uint32_t *core_register(uint32_t address) {
  return (volatile uint32_t *)(uintptr_t)address;
}
#endif

void tflash_port_flush(void) {
  if (stream.pending > 0) {
    tflash_framework_write(stream.output, stream.pending);
    stream.pending = 0;
  }
}

void tflash_port_init(void) {
  stream.pending = 0;
  tflash_framework_init();
#ifdef TFLASH_HAS_DWT
  *core_register(DEMCR) |= DEMCR_TRCENA;
  *core_register(DWT_LAR) = DWT_LAR_KEY;
  *core_register(DWT_CYCCNT) = 0;
  *core_register(DWT_CTRL) |= DWT_CTRL_CYCCNTENA;
#endif
}

size_t tflash_port_read(uint8_t *data, size_t capacity) {
  tflash_port_flush();
  return tflash_framework_read(data, capacity);
}

void tflash_port_write(const uint8_t *data, size_t length) {
  while (length > 0) {
    if (stream.pending == OUTPUT_BYTES) {
      tflash_port_flush();
    }
    const size_t room = OUTPUT_BYTES - stream.pending;
    const size_t part = length < room ? length : room;
    memcpy(stream.output + stream.pending, data, part);
    stream.pending += part;
    data += part;
    length -= part;
  }
}

uint32_t tflash_port_count(void) {
#ifdef TFLASH_HAS_DWT
  return *core_register(DWT_CYCCNT);
#else
  return tflash_framework_count();
#endif
}

enum tflash_counter tflash_port_counter(void) {
#ifdef TFLASH_HAS_DWT
  return TFLASH_COUNTER_CYCLES;
#else
  return tflash_framework_counter();
#endif
}

uint32_t tflash_port_micros(void) {
  return tflash_framework_micros();
}

uint32_t tflash_port_stack_bytes(void) {
  return 0; /* frameworks give the program a stack of their own, whose end is not known here */
}

void tflash_port_reset(void) {
  tflash_port_flush();
#ifdef __ARM_ARCH
  for (;;) {
    *core_register(AIRCR) = AIRCR_SYSRESETREQ;
  }
#else
  tflash_framework_reset();
#endif
}

void tflash_port_finish(void) {
  tflash_port_flush();
}
