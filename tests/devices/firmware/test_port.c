/* A port on the host's standard input and output, whose counter says something that a test can predict. */
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "frames.h"
#include "port.h"
#include "toy_model.h"

#ifndef TOY_COUNTER
#define TOY_COUNTER TFLASH_COUNTER_CYCLES
#endif
#ifndef TOY_BOARD
#define TOY_BOARD "native"
#endif

void tflash_port_init(void) {
#ifdef TOY_BOOT_NOISE
  tflash_port_write((const uint8_t *)"\x02" "booting, clock 8 MHz\r\n", 23);
#endif
}

size_t tflash_port_read(uint8_t *data, size_t capacity) {
  fflush(stdout);
  const ssize_t stored = read(STDIN_FILENO, data, capacity);
  return stored > 0 ? (size_t)stored : 0;
}

void tflash_port_write(const uint8_t *data, size_t length) { fwrite(data, 1, length, stdout); }

/* 42 from one reading to the next, over the wrap of 32 bits. */
uint32_t tflash_port_count(void) {
  static uint32_t now = UINT32_MAX - 30u;
  now += 42u;
  return now;
}

enum tflash_counter tflash_port_counter(void) { return TOY_COUNTER; }

uint32_t tflash_port_stack_bytes(void) { return 777; }

void tflash_port_reset(void) {
  char program[] = "/proc/self/exe";
  char *const arguments[] = {program, NULL};
  fflush(stdout);
  execv(program, arguments);
  abort();
}

int main(void) {
#ifdef TOY_LAST_WORDS
  fputs(TOY_LAST_WORDS "\n", stderr);
  return 3;
#endif
  signal(SIGPIPE, SIG_IGN); /* a host may leave before the last replies */
  tflash_port_init();
  return tflash_frames_serve(&toy_model, TOY_BOARD);
}
