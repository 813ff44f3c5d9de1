/* Exercises firmware/ports: every byte read is a command, every answer is binary, little endian. */
#include "port.h"

static uint8_t storage[1024];

static uint8_t read_byte(void) {
  uint8_t byte = 0;
  (void)tflash_port_read(&byte, 1);
  return byte;
}

static uint32_t read_u32(void) {
  uint32_t value = 0;
  for (unsigned i = 0; i < 4; i++) {
    value |= (uint32_t)read_byte() << (8 * i);
  }
  return value;
}

static void write_u32(uint32_t value) {
  const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
  tflash_port_write(bytes, sizeof bytes);
}

/* 2 instructions an iteration. */
static void loop(uint32_t count) {
#if defined(__thumb__)
  __asm__ volatile(".syntax unified\n .balign 4\n1: subs %0, %0, #1\n bne 1b\n" : "+l"(count) : : "cc");
#elif defined(__riscv)
  __asm__ volatile(".balign 4\n1: addi %0, %0, -1\n bnez %0, 1b\n" : "+r"(count));
#else
  (void)count;
#endif
}

static uint32_t __attribute__((noinline)) use_stack(uint32_t bytes) {
  volatile uint8_t block[256];
  for (uint32_t i = 0; i < sizeof block; i++) {
    block[i] = (uint8_t)i;
  }
  return bytes <= sizeof block ? block[bytes & 255u] : use_stack(bytes - (uint32_t)sizeof block) + block[1];
}

int main(void) {
  static uint32_t boots_in_data = 7;
  tflash_port_init();
  tflash_port_write((const uint8_t *)"ready\n", 6);
  for (;;) {
    switch (read_byte()) {
      case 'e': { /* echo, in as many pieces as it comes */
        uint32_t left = read_u32();
        while (left > 0) {
          const size_t stored = tflash_port_read(storage, left < sizeof storage ? left : sizeof storage);
          tflash_port_write(storage, stored);
          left -= (uint32_t)stored;
        }
        break;
      }
      case 'c': { /* ticks of nothing, then of a loop */
        const uint32_t iterations = read_u32();
        const uint32_t start = tflash_port_count();
        const uint32_t middle = tflash_port_count();
        loop(iterations);
        const uint32_t end = tflash_port_count();
        write_u32((uint32_t)tflash_port_counter());
        write_u32(middle - start);
        write_u32(end - middle);
        break;
      }
      case 's': /* stack after using that much */
        write_u32(use_stack(read_u32()) & 0u);
        write_u32(tflash_port_stack_bytes());
        break;
      case 'd': /* initialised data is fresh after each start */
        write_u32(boots_in_data++);
        break;
      case 'r':
        tflash_port_reset();
        break;
      case 'f':
#if defined(__riscv)
        __asm__ volatile(".4byte 0");
#elif defined(__thumb__)
        __asm__ volatile(".2byte 0xde00");
#endif
        break;
      case 'q':
        return (int)read_byte();
      default:
        return 99;
    }
  }
}
