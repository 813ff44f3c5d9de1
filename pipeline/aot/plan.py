"""The plan: which bytes of the arena each tensor has, and when.

Lifetimes are exact: a tensor lives from the step that writes it to the last step that reads it; model inputs live
from before the first step, model outputs to after the last. Steps that only rename bytes share their input's memory,
and a step may write over an input that dies with it when its kernel allows: in its very place, or from so far before it
that the output never catches up with what is still to be read. State lives always, so that nothing else is put into its
place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.aot.placement import Block, Overlaps, aligned, layout_bytes, lower_bound, place
from pipeline.aot.regions import place_in_two
from pipeline.aot.steps import State, Step, refuse
from pipeline.model import ArenaSlot
from pipeline.tflite import Graph


@dataclass(frozen=True)
class Plan:
    """Where everything lives.

    home:     tensor index -> arena offset, of every computed tensor and model input.
    fast_bytes: so many bytes at the end of the arena, of which nothing crosses the beginning, lie in fast RAM.
    constant: tensor index -> the constant tensor whose bytes it shares, of constants and of what is renamed from one.
    scratch:  step number -> arena offset of its scratch memory.
    state:    State.key -> arena offset and what is there, in the order of first use.
    lower_bound: the most bytes that one step has to have: no arena can be smaller.
    """

    steps: tuple[Step, ...]
    home: Mapping[int, int]
    constant: Mapping[int, int]
    scratch: Mapping[int, int]
    state: Mapping[str, tuple[int, State]]
    slots: tuple[ArenaSlot, ...]
    arena_bytes: int
    lower_bound: int
    fast_bytes: int = 0


def plan(graph: Graph, steps: Sequence[Step], guard_bytes: int = 0, fast_ram_bytes: int = 0) -> Plan:
    """Place all tensors of the lowered graph.

    Args:    guard_bytes: unused bytes kept around every block, for tests that look for stray writes.
             fast_ram_bytes: RAM for what is read and written most often.
    Raises:  UnsupportedError: an op without state of its own uses a tensor that keeps it.
    """
    root, constant = _shared_memory(graph, steps)
    blocks: dict[int, Block] = {}
    for tensor in sorted({root[t] for t in root}):
        first, last = _lifetime(graph, steps, root, tensor)
        size = max(graph.tensor(t).bytes for t in root if root[t] == tensor)
        blocks[tensor] = Block(graph.tensor(tensor).name, size, first, last)
    scratch = {
        number: Block(f"scratch of op {step.op.index}", step.scratch_bytes, number, number)
        for number, step in enumerate(steps)
        if step.scratch_bytes
    }
    states: dict[str, State] = {}
    for step in steps:
        for state in step.state:
            states.setdefault(state.key, state)
    kept = [Block(f"state of {s.name}", s.initial.nbytes, -1, len(steps)) for s in states.values()]
    keys: list[tuple[str, int | str]] = [("tensor", t) for t in blocks]
    keys += [("scratch", n) for n in scratch] + [("state", key) for key in states]
    everything = [*blocks.values(), *scratch.values(), *kept]
    overlaps = {} if guard_bytes else _overlaps(steps, root, blocks)
    if fast_ram_bytes:
        accesses = [_accesses(graph, steps, root, key) for key in keys]
        offsets, slow_bytes = place_in_two(everything, accesses, fast_ram_bytes, overlaps)
    else:
        offsets = place(everything, guard_bytes, overlaps)
        slow_bytes = layout_bytes(everything, offsets) + guard_bytes
    arena_bytes = max(slow_bytes, layout_bytes(everything, offsets))
    by_key = dict(zip(keys, offsets, strict=True))
    return Plan(
        steps=tuple(steps),
        home={t: by_key["tensor", r] for t, r in root.items()},
        constant=constant,
        scratch={n: by_key["scratch", n] for n in scratch},
        state={key: (by_key["state", key], state) for key, state in states.items()},
        slots=tuple(
            ArenaSlot(block.name, offset, block.bytes, block.first, block.last)
            for block, offset in zip(everything, offsets, strict=True)
        ),
        arena_bytes=arena_bytes,
        lower_bound=lower_bound(everything, overlaps),
        fast_bytes=arena_bytes - slow_bytes,
    )


def _accesses(graph: Graph, steps: Sequence[Step], root: Mapping[int, int], key: tuple[str, int | str]) -> int:
    """Bytes that an inference reads and writes in a block, about: a product reads one, from scratch if there is any."""
    kind, name = key
    total = 0
    for number, step in enumerate(steps):
        if kind == "scratch":
            total += max(2 * step.scratch_bytes, step.macs) if number == name else 0
        elif kind == "state":
            total += sum(2 * state.initial.nbytes for state in step.state if state.key == name)
        elif step.kernel:
            for position, index in enumerate((*step.inputs, *step.outputs)):
                if root.get(index) == name:
                    products = step.macs if position == 0 and not step.scratch_bytes else 0
                    total += max(graph.tensor(index).bytes, products)
    return total


def _shared_memory(graph: Graph, steps: Sequence[Step]) -> tuple[dict[int, int], dict[int, int]]:
    """Which tensors share one block (tensor -> the block's first tensor), and which are constants."""
    root: dict[int, int] = {}
    constant: dict[int, int] = {}
    for index in (*graph.inputs, *(t for s in steps for t in s.inputs), *graph.outputs):
        tensor = graph.tensor(index)
        if tensor.is_variable:
            op = next((s.op for s in steps if index in s.inputs), steps[0].op)
            raise refuse(
                op, f"{tensor.name} keeps state between inferences; SVDF and UNIDIRECTIONAL_SEQUENCE_LSTM can use such."
            )
        if tensor.is_constant:
            constant[index] = index
    root.update((index, index) for index in graph.inputs if index not in constant)
    last_use = {index: len(steps) for index in graph.outputs}
    for number, step in enumerate(steps):
        for index in step.inputs:
            last_use[index] = max(last_use.get(index, -1), number)
    for number, step in enumerate(steps):
        if not step.outputs:
            continue
        source = step.inputs[0] if step.is_alias else _taken_over(graph, step, number, root, last_use)
        for index in step.outputs:
            if source is not None and source in constant:
                constant[index] = constant[source]
            else:
                root[index] = index if source is None else root[source]
    return root, constant


def _taken_over(
    graph: Graph, step: Step, number: int, root: Mapping[int, int], last_use: Mapping[int, int]
) -> int | None:
    """The input whose memory the step's output takes over, or None."""
    if step.in_place is None or len(step.outputs) != 1:
        return None
    source = step.inputs[step.in_place]
    if source not in root or graph.tensor(step.outputs[0]).bytes != graph.tensor(source).bytes:
        return None
    sharers = [t for t, r in root.items() if r == root[source]]
    if any(last_use.get(t, -1) > number for t in sharers):
        return None
    if any(t != source and t in step.inputs for t in sharers):
        return None  # another view of the same bytes is read in a different order
    return source


def _overlaps(steps: Sequence[Step], root: Mapping[int, int], blocks: Mapping[int, Block]) -> Overlaps:
    """What the steps allow whose input's block dies there, in which the output's begins."""
    numbers = {tensor: number for number, tensor in enumerate(blocks)}
    found: dict[tuple[int, int], int | None] = {}
    for number, step in enumerate(steps):
        if (step.lead_bytes is None and step.in_place is None) or len(step.outputs) != 1:
            continue
        read, output = step.inputs[step.in_place or 0], root.get(step.outputs[0])
        source = root.get(read)
        if source is None or output is None or [root.get(index) for index in step.inputs].count(source) > 1:
            continue
        if source != output and blocks[source].last == blocks[output].first == number:
            lead = None if step.lead_bytes is None else min(aligned(step.lead_bytes), aligned(blocks[output].bytes))
            found[numbers[source], numbers[output]] = lead
    return found


def _lifetime(graph: Graph, steps: Sequence[Step], root: Mapping[int, int], block: int) -> tuple[int, int]:
    members = {t for t, r in root.items() if r == block}
    uses = [n for n, s in enumerate(steps) if members.intersection((*s.inputs, *s.outputs))]
    if members.intersection(graph.inputs):
        uses.append(-1)
    if members.intersection(graph.outputs):
        uses.append(len(steps))
    return min(uses), max(uses)
