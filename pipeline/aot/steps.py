"""What lowering produces: an op as one call of one C kernel, with everything that is known at compile time.

A lowering is a function `(graph, op, core) -> Step` in `pipeline/aot/ops/`. It checks that the kernel can do this op
exactly as TFLM does, computes its parameters, and says which kernel it chose and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import UnsupportedError
from pipeline.model import Array
from pipeline.tflite import Graph, Op, Tensor


@dataclass(frozen=True)
class Core:
    """What the planner may know. Features of the core: "dsp", "mve", "fpu". fast_ram_bytes: for part of the arena."""

    features: frozenset[str] = frozenset()
    fast_ram_bytes: int = 0

    def has(self, feature: str) -> bool:
        return feature in self.features


PORTABLE = Core()


@dataclass(frozen=True, eq=False)
class Constant:
    """An array that goes to flash, named <model>_<op index>_<role> in C.

    dtype is int8, uint8, int16, int32, int64 or float32. is_weight marks a model's weights and biases; requantization
    tables and the like are not.
    """

    role: str
    data: Array
    is_weight: bool = False


@dataclass(frozen=True)
class Ref:
    """A parameter that points to the step's Constant of that role."""

    role: str


@dataclass(frozen=True)
class Scratch:
    """A parameter that points to the step's scratch memory in the arena."""


@dataclass(frozen=True, eq=False)
class State:
    """Arena memory that keeps its bytes from one inference to the next: nothing else is ever put there.

    key: steps that name the same one share it. initial: its value whenever the model is made ready, in its dtype.
    """

    key: str
    name: str
    initial: Array


ParamValue = int | float | Ref | Scratch | None | tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """One kernel call: `function(&params, inputs.., state.., outputs..)`.

    kernel:    the file stem under firmware/kernels ("conv_2d_s8"): <kernel>.c and <kernel>.h; the function is
               tflash_<kernel>, its parameters are a `struct tflash_<kernel>_params`.
               "" for a step that only renames bytes: its output lives where its input does; or has nothing to do.
    inputs:    tensor indices passed as pointers, in order. Constants among them go to flash as they are.
    outputs:   tensor indices passed as pointers, in order.
    state:     what it reads and writes in memory of its own, passed as pointers, in order.
    params:    field name -> value, in the struct's order. float is written as the shortest exact float32.
    scratch_bytes: scratch memory in the arena, aligned to 8, during this step only.
    in_place:  index into `inputs` of an input that the output may overlap when it dies here, beginning where it does.
    lead_bytes: or how many bytes it has to begin before the first input to overlap it then (aot/ops/overlap.py).
    input_array, output_array: the inputs or the outputs are passed as one array of pointers.
    """

    op: Op
    kernel: str
    reason: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    constants: tuple[Constant, ...] = ()
    scratch_bytes: int = 0
    in_place: int | None = None
    lead_bytes: int | None = None
    state: tuple[State, ...] = ()
    input_array: bool = False
    output_array: bool = False
    macs: int = 0

    @property
    def is_alias(self) -> bool:
        return not self.kernel


Lowering = Callable[[Graph, Op, Core], Step]


def refuse(op: Op, found: str, hint: str | None = None) -> UnsupportedError:
    """The error for an op that the aot runtime cannot do: `raise refuse(op, "a dilation of 3 ...")`."""
    return UnsupportedError(
        f"{op.where()}: {found}",
        hint=hint or "--runtime tflm, or add a kernel (docs/adding-an-op.md).",
    )


def portable_reason(core: Core) -> str:
    """Why a step has the portable C kernel: nothing else to choose, or not yet."""
    features = ", ".join(sorted(core.features & {"dsp", "mve"}))
    return (
        f"portable C: there is no kernel for {features} yet" if features else "portable C: the core has no dsp or mve"
    )


def quantized_input(graph: Graph, op: Op, position: int, dtype: str = "int8") -> Tensor:
    """Input `position` of the op, checked to be per-tensor quantized in that dtype.

    Raises:  UnsupportedError: the input is absent, of another dtype, or not quantized per tensor.
    """
    if position >= len(op.inputs) or op.inputs[position] < 0:
        raise refuse(op, f"input {position} is missing.")
    return _per_tensor(op, graph.tensor(op.inputs[position]), f"input {position}", dtype)


def quantized_output(graph: Graph, op: Op, position: int = 0, dtype: str = "int8") -> Tensor:
    """Output `position` of the op, checked to be per-tensor quantized in that dtype."""
    if position >= len(op.outputs):
        raise refuse(op, f"output {position} is missing.")
    return _per_tensor(op, graph.tensor(op.outputs[position]), f"output {position}", dtype)


def code_type(graph: Graph, op: Op, position: int = 0) -> str:
    """The type of codes of an op that has kernels for both: "int16" where its input is of that type, else "int8".

    Raises:  UnsupportedError: int16 codes have a zero point other than 0.
    """
    read = op.inputs[position] if position < len(op.inputs) else -1
    if read < 0 or graph.tensor(read).dtype != "int16":
        return "int8"
    for tensor in (graph.tensor(index) for index in (*op.inputs, *op.outputs) if index >= 0):
        if tensor.dtype == "int16" and tensor.zero_point != 0:
            raise refuse(
                op,
                f"{tensor.name} is int16 with zero point {tensor.zero_point}; TFLite's int16 has 0.",
                "convert the model again.",
            )
    return "int16"


def same_size(op: Op, source: Tensor, output: Tensor) -> None:
    """Refuse an op whose output does not have as many elements as its input, or has none."""
    if source.elements != output.elements or not output.elements:
        raise refuse(
            op,
            f"an input of {list(source.shape)} and an output of {list(output.shape)}; "
            "the same number of elements, at least one, is needed.",
        )


def _per_tensor(op: Op, tensor: Tensor, what: str, dtype: str) -> Tensor:
    if tensor.dtype != dtype:
        raise refuse(op, f"{what} ({tensor.name}) is {tensor.dtype}; the aot kernel works on {dtype}.")
    if tensor.scales.size != 1 or not tensor.scale > 0:
        raise refuse(op, f"{what} ({tensor.name}) needs one positive scale, it has {tensor.scales.size}.")
    limits = np.iinfo(dtype)
    if not limits.min <= tensor.zero_point <= limits.max:
        raise refuse(op, f"{what} ({tensor.name}) has zero point {tensor.zero_point}, outside {dtype}.")
    return tensor
