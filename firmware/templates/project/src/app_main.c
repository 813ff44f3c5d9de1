/* What ships: one inference on {{ name }}, to be filled in. tensorflash never overwrites this file once it was changed. */
#include <string.h>

#include "port.h"
#include "{{ export.header }}"

static void print(const char *text) {
  tflash_port_write((const uint8_t *)text, strlen(text));
}

static void print_number(uint32_t number) {
  char text[11] = {0};
  char *digit = text + sizeof text - 1;
  do {
    *--digit = (char)('0' + number % 10u);
    number /= 10u;
  } while (number > 0);
  print(digit);
}

{% if entry != "main" %}
int {{ entry }}(void); /* the framework's start calls it */

{% endif %}
int {{ entry }}(void) {
  const struct tflash_model *model = &{{ export.symbol }};

  tflash_port_init();
  if (model->init() != TFLASH_OK) {
    print("init failed\n");
    return 1;
  }

{% for input in inputs %}
  /* {{ input.name }}: {{ input.dtype }} {{ input.shape }}{% if input.scale %}, real = {{ input.scale }} * (code - {{ input.zero_point }}){% endif %} */
  memset(model->input({{ loop.index0 }}), {{ input.fill }}, {{ input.bytes }}u);
{% endfor %}

  if (model->invoke() != TFLASH_OK) {
    print("invoke failed\n");
    return 1;
  }

  /* {{ output.name }}: {{ output.dtype }} {{ output.shape }}{% if output.scale %}, real = {{ output.scale }} * (code - {{ output.zero_point }}){% endif %} */
  const {{ output.c_type }} *scores = (const {{ output.c_type }} *)model->output(0);
  uint32_t top = 0;
  for (uint32_t i = 1; i < {{ output.elements }}u; i++) {
    if (scores[i] > scores[top]) {
      top = i;
    }
  }
  print("top-1: output ");
  print_number(top);
  print(" of {{ output.elements }}\n");
  return 0;
}
