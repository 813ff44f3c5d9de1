/* What hardware.c needs of a framework: a serial port, and what the core itself does not have. */
#ifndef TFLASH_FRAMEWORK_H
#define TFLASH_FRAMEWORK_H

#include <stddef.h>
#include <stdint.h>

#include "port.h"

#if defined(__ARM_ARCH) && __ARM_ARCH >= 7 && !defined(__ARM_ARCH_8M_BASE__)
#define TFLASH_HAS_DWT /* Armv7-M, Armv8-M Mainline: data watchpoint and trace unit with a cycle counter */
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The firmware's program: release's application, or the frames loop. The framework starts it where it has no main(). */
int tflash_main(void);

/* The serial port is open, with TFLASH_BAUD. */
void tflash_framework_init(void);

/* Waits for a byte; stores what is there, 1..capacity, and returns how much. */
size_t tflash_framework_read(uint8_t *data, size_t capacity);

/* Sends all bytes; drops them where nobody has opened the port. */
void tflash_framework_write(const uint8_t *data, size_t length);

/* Free-running microseconds, modulo 2**32. */
uint32_t tflash_framework_micros(void);

#ifndef TFLASH_HAS_DWT
/* Free-running; the kind is the first's, TFLASH_COUNTER_NONE if there is none. */
enum tflash_counter tflash_framework_counter(void);
uint32_t tflash_framework_count(void);
#endif

/* Sends what is still buffered, when the program has ended. */
void tflash_port_finish(void);

#ifndef __ARM_ARCH
void tflash_framework_reset(void);
#endif

#ifdef __cplusplus
}
#endif

#endif /* TFLASH_FRAMEWORK_H */
