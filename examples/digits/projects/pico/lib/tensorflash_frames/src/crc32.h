#ifndef TFLASH_CRC32_H
#define TFLASH_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32 of IEEE 802.3 (reflected 0xEDB88320, as zlib's crc32), with a table of 64 bytes. */
uint32_t tflash_crc32(const uint8_t *data, size_t length);

#endif /* TFLASH_CRC32_H */
