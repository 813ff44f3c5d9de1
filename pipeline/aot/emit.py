"""A plan becomes C: one file of code, one of constants, a header, and the kernels it calls."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files

import numpy as np

from pipeline.aot.plan import Plan
from pipeline.aot.steps import Constant, ParamValue, Ref, Scratch, State, Step
from pipeline.errors import UnsupportedError
from pipeline.model import Array
from pipeline.tflite import Graph, Tensor

C_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "float32": "float",
    "bool": "uint8_t",
}
_DTYPE_ENUM = {
    "int8": "TFLASH_INT8",
    "uint8": "TFLASH_UINT8",
    "int16": "TFLASH_INT16",
    "int32": "TFLASH_INT32",
    "int64": "TFLASH_INT64",
    "float32": "TFLASH_FLOAT32",
    "bool": "TFLASH_BOOL",
}


@dataclass(frozen=True)
class Sources:
    """C files by their path relative to the library's src folder, and what they hold."""

    files: Mapping[str, bytes]
    symbol: str
    header: str
    constant_bytes: int
    weights_bytes: int


def emit(graph: Graph, plan: Plan) -> Sources:
    """Write the model as C.

    Raises:  UnsupportedError: a tensor's type has no C counterpart here.
    """
    return _Emitter(graph, plan).sources()


def model_symbol(name: str) -> str:
    """The C name of a model's `const struct tflash_model`."""
    return name if name.endswith("_model") else f"{name}_model"


def header_name(name: str) -> str:
    """The header that declares a model; a model called string or model must not hide string.h or model.h."""
    return f"{model_symbol(name)}.h"


def comment_text(text: str, limit: int = 60) -> str:
    """Text from a model file, made harmless inside a C comment."""
    return re.sub(r"[^A-Za-z0-9_./:;,+ -]", "_", text)[-limit:].replace("//", "/_")


def tensor_text(name: str) -> str:
    """A tensor's name inside a C comment; where a converter put together those of several ops, the last."""
    return comment_text(name.split(";")[-1])


def c_string(text: str, limit: int = 60) -> str:
    """Text from a model file as a C string literal of plain ASCII."""
    return '"' + re.sub(r"[^A-Za-z0-9_./:;,+ -]", "_", text)[-limit:] + '"'


def c_float(value: float) -> str:
    """A float32 as a C literal that is exactly that value."""
    number = np.float32(value)
    if not np.isfinite(number):
        raise ValueError(f"{value} has no C literal")
    text = np.format_float_scientific(number, unique=True, trim="0")
    return f"{text}f"


def c_name(text: str, limit: int = 32) -> str:
    """What a tensor's name says of its layer, as a part of a C name: lower case, maybe nothing.

    A converter writes model/layer/Op, or several of them with semicolons between; most ops have names in CamelCase.
    """
    path = text.split(";")[-1].split("/")
    path = path[1:] if path[0].endswith("PartitionedCall") else path
    inside = path[2:-1]  # of a layer, which may well begin with a capital itself
    layer = path[:2] if len(path) > 2 else [part for part in path if not part[:1].isupper()]
    layer += itertools.takewhile(lambda part: not part[:1].isupper(), inside)
    return re.sub(r"[^a-z0-9]+", "_", layer[-1].lower() if layer else "")[:limit].strip("_")


def step_names(graph: Graph, steps: Sequence[Step]) -> tuple[str, ...]:
    """A C name for each step, from that of its output tensor, else of its op; no two are the same."""
    names: dict[str, None] = {}
    for step in steps:
        op = c_name(step.op.name.lower())
        layer = (c_name(graph.tensor(step.outputs[0]).name) if step.outputs else "") or op
        numbered = (f"{layer}_{op}_{number}" for number in itertools.count(2))
        names[next(n for n in itertools.chain((layer, f"{layer}_{op}"), numbered) if n not in names)] = None
    return tuple(names)


class _Constants:
    """The arrays of flash, each distinct content once."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.arrays: dict[str, Array] = {}
        self.weights: set[str] = set()
        self._names: dict[tuple[str, bytes], str] = {}

    def add(self, name: str, data: Array, is_weight: bool) -> str:
        flat = np.ascontiguousarray(data).reshape(-1)
        key = str(flat.dtype), flat.tobytes()
        if key not in self._names:
            wanted = f"{self.prefix}_{name}"
            symbols = itertools.chain((wanted,), (f"{wanted}_{number}" for number in itertools.count(2)))
            self._names[key] = next(symbol for symbol in symbols if symbol not in self.arrays)
            self.arrays[self._names[key]] = flat
        symbol = self._names[key]
        if is_weight:
            self.weights.add(symbol)
        return symbol

    @property
    def bytes(self) -> int:
        return sum(a.nbytes for a in self.arrays.values())

    @property
    def weights_bytes(self) -> int:
        return sum(self.arrays[name].nbytes for name in self.weights)


class _Emitter:
    def __init__(self, graph: Graph, plan: Plan) -> None:
        self.graph = graph
        self.plan = plan
        self.name = graph.name
        self.symbol = model_symbol(graph.name)
        self.header_name = header_name(graph.name)
        self.constants = _Constants(graph.name)
        self.names = step_names(graph, plan.steps)
        self.functions: list[str] = []  # one a step
        self.calls: list[str] = []  # of them, in order
        self.layers = 0

    def sources(self) -> Sources:
        for number, step in enumerate(self.plan.steps):
            self.step(number, step)
        outputs = [self.pointer(i) for i in self.graph.outputs]
        inputs = [self.pointer(i) for i in self.graph.inputs]
        reset = self.reset()
        kernels = sorted({s.kernel for s in self.plan.steps if s.kernel})
        files = {
            self.header_name: self.header(),
            f"{self.name}.c": self.code(kernels, inputs, outputs, reset),
            f"{self.name}_constants.h": self.constants_header(),
            f"{self.name}_constants.c": self.constants_code(),
        }
        return Sources(
            files={path: text.encode() for path, text in files.items()} | kernel_files(kernels),
            symbol=self.symbol,
            header=self.header_name,
            constant_bytes=self.constants.bytes,
            weights_bytes=self.constants.weights_bytes,
        )

    # One step

    def step(self, number: int, step: Step) -> None:
        if step.is_alias:
            what = "the same bytes" if step.outputs else "nothing to do"
            self.calls.append(f"  /* {self.title(step)}: {what} */")
        else:
            self.functions.append(self.function(number, step))
            self.calls.append(f"  run_{self.names[number]}();")
        for index in step.outputs:
            size = self.graph.tensor(index).bytes
            self.calls.append(f"  TFLASH_LAYER({self.layers}, {self.pointer(index)}, {size}u);")
            self.layers += 1

    def title(self, step: Step) -> str:
        ends = [self.graph.tensor(i) for i in (*step.inputs[:1], *step.outputs[:1])]
        shapes = " -> ".join("x".join(map(str, tensor.shape)) or "1" for tensor in ends)
        return ", ".join(filter(None, (f"op {step.op.index}", comment_text(step.op.name), shapes)))

    def function(self, number: int, step: Step) -> str:
        """The C function that runs a step."""
        name = self.names[number]
        refs = {c.role: self.constants.add(f"{name}_{c.role}", _checked(c), c.is_weight) for c in step.constants}
        arguments, lines = ["&params"], [f"  static const struct tflash_{step.kernel}_params params = {{"]
        lines += [f"      .{field} = {self.value(number, value, refs)}," for field, value in step.params.items()]
        lines += ["  };"]
        if step.input_array:
            pointers = ", ".join(self.pointer(i) for i in step.inputs)
            lines.append(f"  static const void *const sources[] = {{{pointers}}};")
            arguments.append("sources")
        else:
            arguments += [self.typed_pointer(i, "const ") for i in step.inputs]
        arguments += [self.state_pointer(state) for state in step.state]
        if step.output_array:
            pointers = ", ".join(self.pointer(i) for i in step.outputs)
            lines.append(f"  static void *const targets[] = {{{pointers}}};")
            arguments.append("targets")
        else:
            arguments += [self.typed_pointer(i, "") for i in step.outputs]
        lines.append(_call(f"tflash_{step.kernel}", arguments))
        body = "\n".join(lines)
        shown = f": {tensor_text(self.graph.tensor(step.outputs[0]).name)}" if step.outputs else ""
        return f"/* {self.title(step)}{shown} */\nstatic void run_{name}(void) {{\n{body}\n}}\n"

    def value(self, number: int, value: ParamValue, refs: Mapping[str, str]) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, Ref):
            return refs[value.role]
        if isinstance(value, Scratch):
            return f"(void *)({self.place(self.plan.scratch[number])})"
        if isinstance(value, tuple):
            return "{" + ", ".join(c_integer(int(v)) for v in value) + "}"
        if isinstance(value, (float, np.floating)):
            return c_float(float(value))
        return c_integer(int(value))

    def pointer(self, index: int) -> str:
        """A C expression for the first byte of a tensor."""
        tensor = self.graph.tensor(index)
        if index in self.plan.constant:
            source = self.graph.tensor(self.plan.constant[index])
            if source.data is None or source.dtype not in C_TYPES:
                raise UnsupportedError(f"tensor {index} ({tensor.name}): a constant of {tensor.dtype}.")
            data = source.data.astype(np.uint8) if source.dtype == "bool" else source.data
            return self.constants.add(f"{c_name(source.name) or source.index}_value", data, is_weight=True)
        return self.place(self.plan.home[index])

    def place(self, offset: int) -> str:
        """A C expression for a byte of the arena."""
        slow_bytes = self.plan.arena_bytes - self.plan.fast_bytes
        if self.plan.fast_bytes and offset >= slow_bytes:
            return f"fast_arena + {offset - slow_bytes}"
        return f"arena + {offset}"

    def typed_pointer(self, index: int, qualifier: str) -> str:
        if index in self.plan.constant:
            return self.pointer(index)
        return _cast(f"{qualifier}{c_type(self.graph.tensor(index))}", self.pointer(index))

    def state_pointer(self, state: State) -> str:
        offset, _ = self.plan.state[state.key]
        return _cast(C_TYPES[str(state.initial.dtype)], self.place(offset))

    def reset(self) -> list[str]:
        """C statements that give all state its initial value."""
        lines = []
        for offset, state in self.plan.state.values():
            content = state.initial.tobytes()
            if content == content[:1] * len(content):
                source = f"memset({self.place(offset)}, {content[0]}, {len(content)}u)"
            else:
                constant = self.constants.add(f"{c_name(state.name)}_initial", state.initial, is_weight=False)
                source = f"memcpy({self.place(offset)}, {constant}, {len(content)}u)"
            lines.append(f"  {source}; /* {tensor_text(state.name)} */\n")
        return lines

    # Files

    def header(self) -> str:
        upper, guard = self.name.upper(), f"{self.symbol.upper()}_H"
        lines = [
            self.banner(),
            f"#ifndef {guard}",
            f"#define {guard}",
            "",
            '#include "model.h"',
            "",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            "",
            f"#define {upper}_ARENA_BYTES {max(self.plan.arena_bytes, 1)}u",
        ]
        for kind, indices in (("INPUT", self.graph.inputs), ("OUTPUT", self.graph.outputs)):
            for position, index in enumerate(indices):
                lines += ["", *tensor_macros(f"{upper}_{kind}_{position}", self.graph.tensor(index))]
        lines += [
            "",
            f"extern const struct tflash_model {self.symbol};",
            "",
            *(["/* Makes the model ready, and gives all state its initial value. */"] if self.plan.state else []),
            f"int {self.name}_init(void);",
            f"int {self.name}_invoke(void);",
            f"void *{self.name}_input(uint8_t index);",
            f"const void *{self.name}_output(uint8_t index);",
            "",
            "#ifdef __cplusplus",
            "}",
            "#endif",
            "",
            f"#endif /* {guard} */",
            "",
        ]
        return "\n".join(lines)

    def code(self, kernels: Sequence[str], inputs: Sequence[str], outputs: Sequence[str], reset: Sequence[str]) -> str:
        upper = self.name.upper()
        kernel_includes = "".join(f'#include "kernels/{k}.h"\n' for k in kernels)
        functions, body = "\n".join(self.functions), "\n".join(self.calls)
        string_include = "#include <string.h>\n\n" if reset else ""
        return f"""{self.banner()}#include "{self.header_name}"

{string_include}#include "{self.name}_constants.h"
{kernel_includes}
{self.plan_table()}
{self.arenas()}
{functions}
int {self.name}_init(void) {{
{"".join(reset)}  return TFLASH_OK;
}}

int {self.name}_invoke(void) {{
{body}
  return TFLASH_OK;
}}

{self.accessor("void *", "input", inputs)}
{self.accessor("const void *", "output", outputs)}
static uint32_t arena_used_bytes(void) {{
  return {upper}_ARENA_BYTES;
}}

{tensor_table("inputs", [self.graph.tensor(i) for i in self.graph.inputs])}
{tensor_table("outputs", [self.graph.tensor(i) for i in self.graph.outputs])}
const struct tflash_model {self.symbol} = {{
    .name = "{self.name}",
    .runtime = "aot",
    .sha256 = {{
        {sha256_bytes(self.graph.sha256[:32])},
        {sha256_bytes(self.graph.sha256[32:])},
    }},
    .arena_bytes = {upper}_ARENA_BYTES,
    .layer_count = {self.layers},
    .input_count = {len(inputs)},
    .output_count = {len(outputs)},
    .inputs = inputs,
    .outputs = outputs,
    .init = {self.name}_init,
    .invoke = {self.name}_invoke,
    .input = {self.name}_input,
    .output = {self.name}_output,
    .arena_used_bytes = arena_used_bytes,
}};
"""

    def accessor(self, kind: str, what: str, pointers: Sequence[str]) -> str:
        cases = "".join(f"    case {position}:\n      return {pointer};\n" for position, pointer in enumerate(pointers))
        return (
            f"{kind}{self.name}_{what}(uint8_t index) {{\n  switch (index) {{\n{cases}"
            "    default:\n      return NULL;\n  }\n}\n"
        )

    def constants_header(self) -> str:
        guard = f"{self.name.upper()}_CONSTANTS_H"
        declarations = "".join(
            f"extern const {_array_type(a)} {name}[{a.size}];\n" for name, a in self.constants.arrays.items()
        )
        return f"{self.banner()}#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\n{declarations}\n#endif\n"

    def constants_code(self) -> str:
        parts = [f'{self.banner()}#include "{self.name}_constants.h"\n']
        for name, array in self.constants.arrays.items():
            alignment = max(4, array.itemsize)  # kernels load bytes a word at a time
            parts.append(
                f"_Alignas({alignment}) const {_array_type(array)} {name}[{array.size}] = {{\n{c_values(array)}\n}};\n"
            )
        return "\n".join(parts)

    def banner(self) -> str:
        return (
            f"/* {comment_text(self.graph.path.name)}, compiled by tensorflash. Do not edit.\n"
            f" * sha256 {self.graph.sha256} */\n"
        )

    def arenas(self) -> str:
        """The arena, or its two parts. The section is .bss to a linker script that does not know it."""
        name, fast = f"{self.name.upper()}_ARENA_BYTES", self.plan.fast_bytes
        slow = f"static _Alignas(16) uint8_t arena[{name}{f' - {fast}u' if fast else ''}];\n"
        if fast:
            attribute = '__attribute__((section(".bss.tflash_fast_ram")))'
            slow = "" if fast == self.plan.arena_bytes else slow
            slow += f"static _Alignas(16) uint8_t fast_arena[{fast}] {attribute};\n"
        return slow

    def plan_table(self) -> str:
        ops = [step.op.index for step in self.plan.steps] or [0]
        # Inputs are there before the first step, outputs after the last.
        at = [ops[0], *ops, ops[-1]]
        rows = "\n".join(
            f" * {s.offset:>8} {s.bytes:>8}  {at[s.first + 1]:>4}..{at[s.last + 1]:<4} {tensor_text(s.name)}"
            for s in sorted(self.plan.slots, key=lambda s: (s.first, s.offset))
        )
        slow_bytes = self.plan.arena_bytes - self.plan.fast_bytes
        fast = f" * From offset {slow_bytes} on it is fast_arena.\n" if self.plan.fast_bytes else ""
        return (
            f"/* The arena: {self.plan.arena_bytes} bytes; {self.plan.lower_bound} are in use at once at the least.\n"
            " * An op may write over what it reads for the last time.\n"
            f"{fast} *   offset    bytes  in use by ops\n{rows} */"
        )


def _call(function: str, arguments: Sequence[str]) -> str:
    line = f"  {function}({', '.join(arguments)});"
    return line if len(line) <= 120 else f"  {function}(\n      " + ",\n      ".join(arguments) + ");"


def _cast(c_type: str, pointer: str) -> str:
    """The arena is bytes; wider elements are aligned there, which the compiler cannot know."""
    through = "" if c_type.split()[-1] in ("int8_t", "uint8_t") else "(void *)"
    return f"({c_type} *){through}({pointer})"


def kernel_files(kernels: Sequence[str]) -> dict[str, bytes]:
    """The sources of these kernels from firmware/kernels, headers they include, and sources of those headers."""
    folder = package_files("pipeline.firmware") / "kernels"
    result: dict[str, bytes] = {}
    waiting = [name for k in kernels for name in (f"{k}.c", f"{k}.h")]
    while waiting:
        name = waiting.pop()
        path = f"kernels/{name}"
        if path in result:
            continue
        content = (folder / name).read_bytes()
        result[path] = content
        headers = [m.decode() for m in re.findall(rb'^#include "([a-z0-9_]+\.h)"', content, re.MULTILINE)]
        sources = [header.replace(".h", ".c") for header in headers if name.endswith(".c")]
        waiting += headers + [source for source in sources if (folder / source).is_file()]
    return dict(sorted(result.items()))


def tensor_macros(prefix: str, tensor: Tensor) -> list[str]:
    """#defines that describe a model input or output."""
    lines = [
        f"/* {tensor_text(tensor.name)}: {tensor.dtype} [{', '.join(map(str, tensor.shape))}] */",
        f"#define {prefix}_ELEMENTS {tensor.elements}u",
        f"#define {prefix}_BYTES {tensor.bytes}u",
    ]
    if tensor.is_quantized:
        lines += [
            f"#define {prefix}_SCALE {c_float(tensor.scale)}",
            f"#define {prefix}_ZERO_POINT ({tensor.zero_point})",
        ]
    return lines


def tensor_table(name: str, tensors: Sequence[Tensor]) -> str:
    """A `static const struct tflash_tensor name[]`."""
    rows = "".join(
        f"    {{{c_string(t.name)}, {_DTYPE_ENUM[_supported(t)]}, {len(t.shape)}, "
        f"{{{', '.join(map(str, t.shape)) or '0'}}}, {t.bytes}u, {c_float(t.scale)}, {t.zero_point}}},\n"
        for t in tensors
    )
    return f"static const struct tflash_tensor {name}[] = {{\n{rows}}};\n"


def sha256_bytes(digest: str) -> str:
    return ", ".join(f"0x{byte:02x}" for byte in bytes.fromhex(digest))


def c_type(tensor: Tensor) -> str:
    return C_TYPES[_supported(tensor)]


def c_integer(value: int) -> str:
    """An integer of 32 bits, signed or not, as a C literal that is exactly that value."""
    if not -(1 << 31) <= value < 1 << 32:
        raise ValueError(f"{value} does not fit 32 bits")
    if value == -(1 << 31):
        return "INT32_MIN"
    return f"{value}u" if value >= 1 << 31 else str(value)


def c_values(array: Array, width: int = 110) -> str:
    """The elements of an array as lines of a C initializer."""
    if array.dtype == np.float32:
        items = [c_float(float(v)) for v in array]
    elif array.dtype == np.int64:
        items = [f"INT64_C({v})" if v > -(1 << 63) else "INT64_MIN" for v in array.tolist()]
    elif array.dtype == np.int32:
        items = [c_integer(v) for v in array.tolist()]
    else:
        items = [str(v) for v in array.tolist()]
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > width:
            lines.append(line)
            line = "   "
        line += f" {item},"
    lines.append(line)
    return "\n".join(lines)


def _array_type(array: Array) -> str:
    return C_TYPES[str(array.dtype)]


def _checked(constant: Constant) -> Array:
    if constant.data.size == 0 or str(constant.data.dtype) not in C_TYPES:
        raise ValueError(f"constant {constant.role}: {constant.data.size} elements of {constant.data.dtype}")
    return constant.data


def require_ends(graph: Graph) -> None:
    """Raises:  UnsupportedError: a model input or output is of a type that has no C counterpart here."""
    for index in (*graph.inputs, *graph.outputs):
        _supported(graph.tensor(index))


def _supported(tensor: Tensor) -> str:
    if tensor.dtype not in C_TYPES or len(tensor.shape) > 8:
        raise UnsupportedError(
            f"tensor {tensor.index} ({tensor.name}): {tensor.dtype} of rank {len(tensor.shape)} cannot go in or out of "
            f"the aot runtime; {', '.join(C_TYPES)} can.",
            hint="--runtime tflm",
        )
    return tensor.dtype
