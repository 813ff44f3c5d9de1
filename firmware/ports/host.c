/* The host as a board: a process whose standard input and output are the byte stream. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "port.h"

#define EXIT_STREAM 125 /* the byte stream broke */

#define OUTPUT_BYTES 4096

static struct {
  size_t pending;
  uint8_t output[OUTPUT_BYTES];
} stream;

void tflash_port_flush(void) {
  const uint8_t *data = stream.output;
  while (stream.pending > 0) {
    const ssize_t sent = write(STDOUT_FILENO, data, stream.pending);
    if (sent > 0) {
      data += sent;
      stream.pending -= (size_t)sent;
    } else if (sent < 0 && errno != EINTR) {
      _exit(EXIT_STREAM); /* not exit(): it would flush again */
    }
  }
}

void tflash_port_init(void) {
  (void)atexit(tflash_port_flush);
}

size_t tflash_port_read(uint8_t *data, size_t capacity) {
  tflash_port_flush();
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
  return 0;
}

enum tflash_counter tflash_port_counter(void) {
  return TFLASH_COUNTER_NONE;
}

uint32_t tflash_port_micros(void) {
  struct timespec time = {0};
  (void)clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint32_t)((uint64_t)time.tv_sec * 1000000u + (uint64_t)time.tv_nsec / 1000u);
}

uint32_t tflash_port_stack_bytes(void) {
  return 0;
}

void tflash_port_reset(void) {
  tflash_port_flush();
  char program[] = "/proc/self/exe";
  char *const arguments[] = {program, NULL};
  (void)execv(program, arguments);
  exit(EXIT_STREAM);
}
