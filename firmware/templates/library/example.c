/* One inference on {{ name }}. */
#include <stdio.h>
#include <string.h>

#include "{{ export.header }}"

int main(void) {
  const struct tflash_model *model = &{{ export.symbol }};
  if (model->init() != TFLASH_OK) {
    return 1;
  }
{% for input in inputs %}
  /* {{ input.name }}: {{ input.dtype }} {{ input.shape }}{% if input.scale %}, real = {{ input.scale }} * (code - {{ input.zero_point }}){% endif %} */
  memset(model->input({{ loop.index0 }}), {{ input.fill }}, {{ input.bytes }}u);
{% endfor %}
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
  printf("top-1: output %lu of {{ output.elements }}\n", (unsigned long)top);
  return 0;
}
