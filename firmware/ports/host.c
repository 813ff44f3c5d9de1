/* The host as a board: a process whose standard input and output are the byte stream. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "port.h"

#define EXIT_STREAM 125 /* the byte stream broke */

void tflash_port_init(void) {
}

size_t tflash_port_read(uint8_t *data, size_t capacity) {
  for (;;) {
    const ssize_t stored = read(STDIN_FILENO, data, capacity);
    if (stored > 0) {
      return (size_t)stored;
    }
    if (stored == 0) {
      exit(EXIT_SUCCESS); /* the peer has closed the stream: nobody is left to serve */
    }
    if (errno != EINTR) {
      exit(EXIT_STREAM);
    }
  }
}

void tflash_port_write(const uint8_t *data, size_t length) {
  while (length > 0) {
    const ssize_t sent = write(STDOUT_FILENO, data, length);
    if (sent > 0) {
      data += sent;
      length -= (size_t)sent;
    } else if (sent < 0 && errno != EINTR) {
      exit(EXIT_STREAM);
    }
  }
}

uint32_t tflash_port_count(void) {
  return 0;
}

enum tflash_counter tflash_port_counter(void) {
  return TFLASH_COUNTER_NONE;
}

uint32_t tflash_port_stack_bytes(void) {
  return 0;
}

void tflash_port_reset(void) {
  char program[] = "/proc/self/exe";
  char *const arguments[] = {program, NULL};
  (void)execv(program, arguments);
  exit(EXIT_STREAM);
}
