"""CALL_ONCE, VAR_HANDLE, READ_VARIABLE and ASSIGN_VARIABLE: values that outlive an inference.

A variable has memory of its own in the arena, with the value that CALL_ONCE gives it from the beginning on; so the
first two ops have nothing to do.
"""

from __future__ import annotations

from pipeline.aot.steps import Core, State, Step
from pipeline.state import variables
from pipeline.tflite import Graph, Op


def lower_call_once(graph: Graph, op: Op, core: Core) -> Step:
    """Nothing at run time: init() gives variables their first value. Its subgraph may only assign constants."""
    variables(graph)
    return Step(op=op, kernel="", reason="init() does it", inputs=(), outputs=())


def lower_var_handle(graph: Graph, op: Op, core: Core) -> Step:
    """Nothing at run time."""
    return Step(op=op, kernel="", reason="the place is known at compile time", inputs=(), outputs=())


def lower_read_variable(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_copy, out of the variable's memory."""
    return _copy(graph, op, (), op.outputs[:1])


def lower_assign_variable(graph: Graph, op: Op, core: Core) -> Step:
    """One call of tflash_copy, into the variable's memory."""
    return _copy(graph, op, op.inputs[1:2], ())


def _copy(graph: Graph, op: Op, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Step:
    variable = variables(graph)[op.inputs[0]]
    return Step(
        op=op,
        kernel="copy",
        reason="one byte after the other",
        inputs=inputs,
        outputs=outputs,
        state=(State(f"variable {variable.name}", variable.name, variable.initial),),
        params={"bytes": variable.initial.nbytes},
    )
