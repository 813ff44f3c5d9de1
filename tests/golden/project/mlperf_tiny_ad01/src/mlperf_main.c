/* Answers MLPerf Tiny's runner, as the device of ad01: anomaly detection.
 * The firmware of the environment mlperf_tiny. Written by tensorflash 0.1.0. */
#include "mlperf_tiny.h"
#include "port.h"
#include "ad01_model.h"

static uint8_t data[2560];
static int8_t codes[640];

static const struct tflash_mlperf_tiny setup = {
    .benchmark = "ad01",
    .board = "esp32_s3_devkitc_1",
    .input = TFLASH_MLPERF_FEATURES,
    .data = data,
    .data_bytes = sizeof data,
    .codes = codes,
};

int tflash_main(void); /* the framework's start calls it */

int tflash_main(void) {
  tflash_port_init();
  return tflash_mlperf_tiny_serve(&ad01_model, &setup);
}
