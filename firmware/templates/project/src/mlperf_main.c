/* Answers MLPerf Tiny's runner, as the device of {{ benchmark.id }}: {{ benchmark.task }}.
 * The firmware of the environment mlperf_tiny. Written by tensorflash {{ version }}. */
#include "mlperf_tiny.h"
#include "port.h"
#include "{{ export.header }}"

static uint8_t data[{{ benchmark.data_bytes }}];
{% if benchmark.input == "FEATURES" %}
static int8_t codes[{{ benchmark.elements }}];
{% endif %}

static const struct tflash_mlperf_tiny setup = {
    .benchmark = "{{ benchmark.id }}",
    .board = "{{ board.id }}",
    .input = TFLASH_MLPERF_{{ benchmark.input }},
    .data = data,
    .data_bytes = sizeof data,
    .codes = {{ "codes" if benchmark.input == "FEATURES" else "(int8_t *)data" }},
};

{% if entry != "main" %}
int {{ entry }}(void); /* the framework's start calls it */

{% endif %}
int {{ entry }}(void) {
  tflash_port_init();
  return tflash_mlperf_tiny_serve(&{{ export.symbol }}, &setup);
}
