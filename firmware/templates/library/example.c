{% set preprocess = export.contract and export.contract.raw_type %}
{% set labels = export.contract and export.contract.labels %}
/* One inference on {{ name }}. */
#include <stdio.h>
#include <string.h>

#include "{{ export.contract.path if export.contract else export.header }}"

int main(void) {
  const struct tflash_model *model = &{{ export.symbol }};
  if (model->init() != TFLASH_OK) {
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
  printf("top-1: %s\n", {{ name }}_labels[top]);
{% else %}
  printf("top-1: output %lu of {{ output.elements }}\n", (unsigned long)top);
{% endif %}
  return 0;
}
