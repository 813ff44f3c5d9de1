"""Every op of a graph becomes a Step, or the model is refused with all the reasons at once."""

from __future__ import annotations

from pipeline.aot.ops import LOWERINGS
from pipeline.aot.steps import PORTABLE, Core, Step
from pipeline.errors import UnsupportedError
from pipeline.tflite import Graph


def lower(graph: Graph, core: Core = PORTABLE) -> tuple[Step, ...]:
    """Lower all ops, in the file's order, which `pipeline.tflite` has checked to be an order of computation.

    Raises:  UnsupportedError: naming every op that the aot runtime cannot do.
    """
    steps: list[Step] = []
    problems: list[UnsupportedError] = []
    for op in graph.ops:
        lowering = LOWERINGS.get(op.name)
        try:
            if lowering is None:
                name = f"CUSTOM op '{op.custom_code}'" if op.name == "CUSTOM" else op.name
                raise UnsupportedError(
                    f"op {op.index} ({name}): the aot runtime has no kernel for it.",
                    hint="--runtime tflm, or add a kernel (docs/adding-an-op.md).",
                )
            steps.append(lowering(graph, op, core))
        except UnsupportedError as error:
            problems.append(error)
    if problems:
        raise UnsupportedError("\n".join(dict.fromkeys(p.message for p in problems)), hint=problems[0].hint)
    return tuple(steps)
