"""The plan: which bytes of the arena each tensor has, and when.

Lifetimes are exact: a tensor lives from the step that writes it to the last step that reads it; model inputs live
from before the first step, model outputs to after the last. Steps that only rename bytes share their input's memory,
and a step may write over an input that dies with it when its kernel allows. State lives always, so that nothing else
is put into its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.aot.steps import State, Step, refuse
from pipeline.model import ArenaSlot
from pipeline.tflite import Graph

ALIGNMENT = 8  # bytes; the widest element type is int64


@dataclass(frozen=True)
class Block:
    """A piece of arena to be placed: bytes, and the steps first..last (inclusive) during which it is in use."""

    name: str
    bytes: int
    first: int
    last: int

    def meets(self, other: Block) -> bool:
        """Whether both are in use at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """Where everything lives.

    home:     tensor index -> arena offset, of every computed tensor and model input.
    constant: tensor index -> the constant tensor whose bytes it shares, of constants and of what is renamed from one.
    scratch:  step number -> arena offset of its scratch memory.
    state:    State.key -> arena offset and what is there, in the order of first use.
    lower_bound: the largest sum of bytes in use during one step: no arena can be smaller.
    """

    steps: tuple[Step, ...]
    home: Mapping[int, int]
    constant: Mapping[int, int]
    scratch: Mapping[int, int]
    state: Mapping[str, tuple[int, State]]
    slots: tuple[ArenaSlot, ...]
    arena_bytes: int
    lower_bound: int


def plan(graph: Graph, steps: Sequence[Step], guard_bytes: int = 0) -> Plan:
    """Place all tensors of the lowered graph.

    Args:    guard_bytes: unused bytes kept around every block, for tests that look for stray writes.
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
    offsets = place(everything, guard_bytes)
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
        arena_bytes=max(
            (o + _aligned(b.bytes) + guard_bytes for o, b in zip(offsets, everything, strict=True)), default=0
        ),
        lower_bound=lower_bound(everything),
    )


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
    if source not in root or graph.tensor(step.outputs[0]).bytes > graph.tensor(source).bytes:
        return None
    sharers = [t for t, r in root.items() if r == root[source]]
    if any(last_use.get(t, -1) > number for t in sharers):
        return None
    if any(t != source and t in step.inputs for t in sharers):
        return None  # another view of the same bytes is read in a different order
    return source


def _lifetime(graph: Graph, steps: Sequence[Step], root: Mapping[int, int], block: int) -> tuple[int, int]:
    members = {t for t, r in root.items() if r == block}
    uses = [n for n, s in enumerate(steps) if members.intersection((*s.inputs, *s.outputs))]
    if members.intersection(graph.inputs):
        uses.append(-1)
    if members.intersection(graph.outputs):
        uses.append(len(steps))
    return min(uses), max(uses)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def lower_bound(blocks: Sequence[Block]) -> int:
    """The largest number of bytes in use at one step."""
    moments = {b.first for b in blocks}
    return max((sum(_aligned(b.bytes) for b in blocks if b.first <= m <= b.last) for m in moments), default=0)


_ORDERS: tuple[Callable[[Block], tuple[int, ...]], ...] = (
    lambda b: (-b.bytes, b.first),
    lambda b: (b.first - b.last, -b.bytes),
    lambda b: (b.first, -b.bytes),
    lambda b: (-b.last, -b.bytes),
    lambda b: (-b.bytes * (b.last - b.first + 1), b.first),
)


def place(blocks: Sequence[Block], guard_bytes: int = 0) -> list[int]:
    """Offsets for the blocks such that no two that meet overlap: the best of several greedy orders.

    Each order places its blocks one after another at the lowest offset that is free during their whole lifetime.
    """
    guard = _aligned(guard_bytes)
    best: list[int] = []
    best_size = None
    for order in _ORDERS:
        offsets = _first_fit(blocks, sorted(range(len(blocks)), key=lambda i: (order(blocks[i]), i)), guard)
        size = max((o + _aligned(b.bytes) for o, b in zip(offsets, blocks, strict=True)), default=0)
        if best_size is None or size < best_size:
            best, best_size = offsets, size
    return best


def _first_fit(blocks: Sequence[Block], order: Sequence[int], guard: int) -> list[int]:
    offsets: dict[int, int] = {}
    for i in order:
        size = _aligned(blocks[i].bytes)
        taken = sorted(
            (offsets[j] - guard, offsets[j] + _aligned(blocks[j].bytes) + guard)
            for j in offsets
            if blocks[i].meets(blocks[j])
        )
        offset = guard
        for start, end in taken:
            if offset + size <= start:
                break
            offset = max(offset, end)
        offsets[i] = offset
    return [offsets[i] for i in range(len(blocks))]
