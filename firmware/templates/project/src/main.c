/* Answers the host: the firmware of the environments verify and trace. Written by tensorflash {{ version }}. */
#include "frames.h"
#include "port.h"
#include "{{ export.header }}"

{% if entry != "main" %}
int {{ entry }}(void); /* the framework's start calls it */

{% endif %}
int {{ entry }}(void) {
  tflash_port_init();
  return tflash_frames_serve(&{{ export.symbol }}, "{{ board.id }}");
}
