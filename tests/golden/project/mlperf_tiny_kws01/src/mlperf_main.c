/* Answers MLPerf Tiny's runner, as the device of kws01: keyword spotting.
 * The firmware of the environment mlperf_tiny. Written by tensorflash 0.1.0. */
#include "mlperf_tiny.h"
#include "port.h"
#include "kws01_model.h"

static uint8_t data[490];

static const struct tflash_mlperf_tiny setup = {
    .benchmark = "kws01",
    .board = "qemu_cortex_m4",
    .input = TFLASH_MLPERF_CODES,
    .data = data,
    .data_bytes = sizeof data,
    .codes = (int8_t *)data,
};

int main(void) {
  tflash_port_init();
  return tflash_mlperf_tiny_serve(&kws01_model, &setup);
}
