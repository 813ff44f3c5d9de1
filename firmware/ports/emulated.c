/* The port of an emulated board.
 *
 * The byte stream is a pair of FIFOs, frames.in and frames.out, in the emulator's working directory, through
 * semihosting: some hundred times faster than an emulated UART. Where they do not exist it is the UART. */
#include <string.h>

#include "chip.h"
#include "port.h"
#include "semihosting.h"
#include "startup.h"

#define PAINT 0xC5C5A3A3u
#define OUTPUT_BYTES 320

static struct {
  int use_files;
  uintptr_t in;
  uintptr_t out;
  size_t pending;
  uint8_t output[OUTPUT_BYTES];
} stream;

static void paint_stack(void) {
  uintptr_t stack_pointer;
#if defined(__riscv)
  __asm__ volatile("mv %0, sp" : "=r"(stack_pointer));
#else
  __asm__ volatile("mov %0, sp" : "=r"(stack_pointer));
#endif
  for (volatile uint32_t *word = tflash_bss_end; (uintptr_t)word < stack_pointer; word++) {
    *word = PAINT;
  }
}

static intptr_t open_file(const char *name, uintptr_t mode) {
  const uintptr_t arguments[3] = {(uintptr_t)name, mode, strlen(name)};
  return (intptr_t)tflash_semihosting(TFLASH_SYS_OPEN, arguments);
}

void tflash_port_init(void) {
  paint_stack();
  tflash_chip_init();
  stream.pending = 0;
  stream.use_files = 0;
  /* In this order: opening the output for writing would create a file where there is no FIFO. */
  const intptr_t in = open_file("frames.in", TFLASH_OPEN_READ);
  if (in < 0) {
    return;
  }
  const intptr_t out = open_file("frames.out", TFLASH_OPEN_WRITE);
  if (out < 0) {
    tflash_semihosting_exit(TFLASH_EXIT_STREAM);
  }
  stream.in = (uintptr_t)in;
  stream.out = (uintptr_t)out;
  stream.use_files = 1;
}

static void send(const uint8_t *data, size_t length) {
  if (!stream.use_files) {
    for (size_t i = 0; i < length; i++) {
      tflash_chip_uart_write(data[i]);
    }
    return;
  }
  while (length > 0) {
    const uintptr_t arguments[3] = {stream.out, (uintptr_t)data, length};
    const uintptr_t left = tflash_semihosting(TFLASH_SYS_WRITE, arguments);
    if (left >= length) {
      tflash_semihosting_exit(TFLASH_EXIT_STREAM);
    }
    data += length - left;
    length = left;
  }
}

void tflash_port_flush(void) {
  send(stream.output, stream.pending);
  stream.pending = 0;
}

size_t tflash_port_read(uint8_t *data, size_t capacity) {
  tflash_port_flush();
  if (stream.use_files) {
    const uintptr_t arguments[3] = {stream.in, (uintptr_t)data, capacity};
    const uintptr_t left = tflash_semihosting(TFLASH_SYS_READ, arguments);
    if (left > capacity) {
      tflash_semihosting_exit(TFLASH_EXIT_STREAM);
    }
    if (left == capacity) {
      tflash_semihosting_exit(0); /* the host has closed the stream: nobody is left to serve */
    }
    return capacity - left;
  }
  size_t stored = 0;
  do {
    data[stored++] = tflash_chip_uart_read();
  } while (stored < capacity && tflash_chip_uart_ready());
  return stored;
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
  return tflash_chip_count();
}

enum tflash_counter tflash_port_counter(void) {
  return TFLASH_COUNTER_TICKS;
}

uint32_t tflash_port_micros(void) {
  uint32_t nanoseconds[2] = {0, 0};
  (void)tflash_semihosting(TFLASH_SYS_ELAPSED, nanoseconds);
  return (uint32_t)(((uint64_t)nanoseconds[1] << 32 | nanoseconds[0]) / 1000u);
}

uint32_t tflash_port_stack_bytes(void) {
  const volatile uint32_t *word = tflash_bss_end;
  while (word < tflash_stack_top && *word == PAINT) {
    word++;
  }
  return (uint32_t)((uintptr_t)tflash_stack_top - (uintptr_t)word);
}

void tflash_port_reset(void) {
  tflash_port_flush();
  tflash_chip_reset();
}

_Noreturn void tflash_run_main(void) {
  memcpy(tflash_data_start, tflash_data_load, (uintptr_t)tflash_data_end - (uintptr_t)tflash_data_start);
  memset(tflash_bss_start, 0, (uintptr_t)tflash_bss_end - (uintptr_t)tflash_bss_start);
  for (void (*const *function)(void) = tflash_init_array_start; function < tflash_init_array_end; function++) {
    (*function)();
  }
  const int result = main();
  tflash_port_flush();
  tflash_semihosting_exit((uint32_t)result);
}
