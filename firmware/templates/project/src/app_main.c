{% set preprocess = export.contract and export.contract.raw_type %}
{% set labels = export.contract and export.contract.labels %}
/* What ships: one inference on {{ name }}, to be filled in. tensorflash never overwrites this file once it was changed. */
#include <string.h>

#include "port.h"
#include "{{ export.contract.path if export.contract else export.header }}"

static void print(const char *text) {
  tflash_port_write((const uint8_t *)text, strlen(text));
}

{% if not labels %}
static void print_number(uint32_t number) {
  char text[11] = {0};
  char *digit = text + sizeof text - 1;
  do {
    *--digit = (char)('0' + number % 10u);
    number /= 10u;
  } while (number > 0);
  print(digit);
}

{% endif %}
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

{% if preprocess %}
{% set input = inputs[0] %}
  /* Raw values as the sensor gives them, here zeros, become {{ input.name }}: {{ input.dtype }} {{ input.shape }}. */
{% if export.contract.in_place %}
  {{ export.contract.raw_type }} *raw = ({{ export.contract.raw_type }} *)model->input(0);
  memset(raw, 0, {{ name | upper }}_RAW_ELEMENTS * sizeof *raw);
{% else %}
  static {{ export.contract.raw_type }} raw[{{ name | upper }}_RAW_ELEMENTS];
{% endif %}
  {{ name }}_preprocess(raw, ({{ input.c_type }} *)model->input(0));
{% else %}
{% for input in inputs %}
  /* {{ input.name }}: {{ input.dtype }} {{ input.shape }}{% if input.scale %}, real = {{ input.scale }} * (code - {{ input.zero_point }}){% endif %} */
  memset(model->input({{ loop.index0 }}), {{ input.fill }}, {{ input.bytes }}u);
{% endfor %}
{% endif %}

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
{% if labels %}
  print("top-1: ");
  print({{ name }}_labels[top]);
  print("\n");
{% else %}
  print("top-1: output ");
  print_number(top);
  print(" of {{ output.elements }}\n");
{% endif %}
  return 0;
}
