"""The ahead-of-time compiler: an int8 .tflite file becomes C for that model alone.

.tflite -> Graph (pipeline.tflite) -> fewer ops (fusions) -> Steps (lower) -> Plan (plan) -> C files (emit)
"""

from __future__ import annotations

from pipeline.aot.emit import emit, require_ends
from pipeline.aot.fusions import fuse
from pipeline.aot.lower import lower
from pipeline.aot.order import frugal_order
from pipeline.aot.plan import Plan, plan
from pipeline.aot.steps import PORTABLE, Core, Step
from pipeline.aot.tables import join_tables
from pipeline.model import Export, KernelChoice, Layer
from pipeline.tflite import Graph, quantized_model

__all__ = ["PORTABLE", "Core", "export"]


def export(graph: Graph, core: Core = PORTABLE, *, guard_bytes: int = 0) -> Export:
    """Compile a graph to C.

    Args:    core: features the planner may use. guard_bytes: unused bytes around every tensor in the arena, for tests.
    Raises:  UnsupportedError: naming every op and tensor that the aot runtime cannot do.
    """
    require_ends(graph)
    fused, hidden = fuse(graph)
    steps, without_tables = join_tables(fused, lower(fused, core))
    orders = dict.fromkeys((steps, frugal_order(graph, steps)))
    planned = min((plan(graph, order, guard_bytes, core.fast_ram_bytes) for order in orders), key=_arena_bytes)
    sources = emit(graph, planned)
    return Export(
        runtime="aot",
        model=quantized_model(graph),
        symbol=sources.symbol,
        header=sources.header,
        files=sources.files,
        arena_bytes=planned.arena_bytes,
        fast_arena_bytes=planned.fast_bytes,
        arena_lower_bound=planned.lower_bound,
        weights_bytes=sources.weights_bytes,
        constant_bytes=sources.constant_bytes,
        macs=sum(step.macs for step in planned.steps),
        kernels=tuple(_choice(graph, planned, step) for step in planned.steps),
        layers=layers(graph, planned),
        arena=planned.slots,
        hidden=tuple(sorted((*hidden, *without_tables), key=lambda layer: (layer.op_index, layer.tensor_index))),
    )


def _arena_bytes(planned: Plan) -> int:
    return planned.arena_bytes


def layers(graph: Graph, planned: Plan) -> tuple[Layer, ...]:
    """What a trace build shows, in the order of its TFLASH_LAYER calls."""
    return tuple(
        Layer(
            op_index=step.op.index,
            op=step.op.name,
            tensor_index=index,
            tensor=graph.tensor(index).name,
            shape=graph.tensor(index).shape,
            dtype=graph.tensor(index).dtype,
            bytes=graph.tensor(index).bytes,
        )
        for step in planned.steps
        for index in step.outputs
    )


def _choice(graph: Graph, planned: Plan, step: Step) -> KernelChoice:
    constants = sum(c.data.nbytes for c in step.constants if c.is_weight)
    constant_inputs = sum(graph.tensor(i).bytes for i in step.inputs if i in planned.constant)
    return KernelChoice(
        op_index=step.op.index,
        op=step.op.name,
        kernel=f"tflash_{step.kernel}" if step.kernel else "",
        reason=step.reason,
        output_shape=graph.tensor(step.outputs[0]).shape if step.outputs else (),
        macs=step.macs,
        weight_bytes=constants + constant_inputs,
    )
