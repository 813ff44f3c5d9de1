/* What the firmware needs of a board: a byte stream, a counter, a reset. One .c file a board family. */
#ifndef TFLASH_PORT_H
#define TFLASH_PORT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum tflash_counter {
  TFLASH_COUNTER_NONE = 0,
  TFLASH_COUNTER_TICKS = 1, /* emulated: the host turns ticks into instructions with the board file's figures */
  TFLASH_COUNTER_CYCLES = 2
};

/* Clocks, byte stream and counter become ready. */
void tflash_port_init(void);

/* Sends what is buffered, waits for at least one byte; returns how many were stored, 1..capacity, or 0 when the stream
 * has ended for good (the host closed the pipe or FIFO): tflash_frames_serve then returns. */
size_t tflash_port_read(uint8_t *data, size_t capacity);

/* Sends all bytes before it returns, or has buffered them until the next read. */
void tflash_port_write(const uint8_t *data, size_t length);

/* Sends what is buffered. */
void tflash_port_flush(void);

/* Free-running 32-bit up-counter; differences are taken modulo 2**32. */
uint32_t tflash_port_count(void);
enum tflash_counter tflash_port_counter(void);

/* Free-running microseconds, modulo 2**32. On an emulated board they are the computer's, and say nothing of silicon. */
uint32_t tflash_port_micros(void);

/* Bytes of stack that were ever in use since tflash_port_init painted it; 0 where that is not known. */
uint32_t tflash_port_stack_bytes(void);

/* Sends what is buffered, then restarts the device; does not return. */
void tflash_port_reset(void);

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_PORT_H */
