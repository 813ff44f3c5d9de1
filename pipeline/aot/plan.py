"""The plan: which bytes of the arena each tensor has, and when.

Lifetimes are exact: a tensor lives from the step that writes it to the last step that reads it; model inputs live
from before the first step, model outputs to after the last. Steps that only rename bytes share their input's memory,
and a step may write over an input that dies with it when its kernel allows: in its very place, or from so far before it
that the output never catches up with what is still to be read. State lives always, so that nothing else is put into its
place.
"""

from __future__ import annotations

import random
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


# (block that a step reads, block that it writes), by their number -> how many bytes before the first the second has to
# begin at the least, if they overlap; None: both have to begin at the same byte.
Overlaps = Mapping[tuple[int, int], int | None]


@dataclass(frozen=True)
class Plan:
    """Where everything lives.

    home:     tensor index -> arena offset, of every computed tensor and model input.
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
    overlaps = {} if guard_bytes else _overlaps(steps, root, blocks)
    offsets = place(everything, guard_bytes, overlaps)
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
        lower_bound=lower_bound(everything, overlaps),
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
            lead = None if step.lead_bytes is None else min(_aligned(step.lead_bytes), _aligned(blocks[output].bytes))
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


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def lower_bound(blocks: Sequence[Block], overlaps: Overlaps | None = None) -> int:
    """The largest number of bytes that one step needs."""
    shared = {blocks[pair[1]].first: _shared_bytes(blocks, pair, lead) for pair, lead in (overlaps or {}).items()}
    moments = {b.first for b in blocks}
    needed = (sum(_aligned(b.bytes) for b in blocks if b.first <= m <= b.last) - shared.get(m, 0) for m in moments)
    return max(needed, default=0)


def _shared_bytes(blocks: Sequence[Block], pair: tuple[int, int], lead: int | None) -> int:
    """How many bytes an input and an output have in common at the most."""
    source, output = (_aligned(blocks[number].bytes) for number in pair)
    return source + output - min(source + output, max(output, (lead or 0) + source))


_ORDERS: tuple[Callable[[Block], tuple[int, ...]], ...] = (
    lambda b: (-b.bytes, b.first),
    lambda b: (b.first - b.last, -b.bytes),
    lambda b: (b.first, -b.bytes),
    lambda b: (-b.last, -b.bytes),
    lambda b: (-b.first, -b.bytes),
    lambda b: (-b.bytes * (b.last - b.first + 1), b.first),
)
_SEARCH_WORK = 400_000  # pairs of blocks that the search compares, about a second


def place(blocks: Sequence[Block], guard_bytes: int = 0, overlaps: Overlaps | None = None) -> list[int]:
    """Offsets for the blocks such that no two that meet overlap, but those that may.

    The best of several greedy orders, each of which places its blocks one after another at the lowest offset that is
    free during their whole lifetime. Where that is above the lower bound, a search goes on from the best order: it
    exchanges two blocks at a time, keeps what is no worse, and ends at the bound or after a fixed amount of work.
    """
    layout = _Layout(blocks, _aligned(guard_bytes), overlaps or {})
    orders = [sorted(range(len(blocks)), key=lambda i: (order(blocks[i]), i)) for order in _ORDERS]
    size, best = min((layout.size(layout.first_fit(order)), order) for order in orders)
    bound = lower_bound(blocks, overlaps) + (2 * layout.guard if blocks else 0)
    chance = random.Random(0)  # noqa: S311 - the same search every time
    for _ in range(_SEARCH_WORK // (len(blocks) ** 2 + 1)):
        if size <= bound or len(blocks) < 2:
            break
        order = list(best)
        i, j = chance.sample(range(len(blocks)), 2)
        order[i], order[j] = order[j], order[i]
        found = layout.size(layout.first_fit(order))
        if found <= size:
            size, best = found, order
    return layout.first_fit(best)


class _Layout:
    """Blocks to be placed, and which offsets two of them deny each other."""

    def __init__(self, blocks: Sequence[Block], guard: int, overlaps: Overlaps) -> None:
        self.guard = guard
        self.sizes = [_aligned(block.bytes) for block in blocks]
        # For each block and one that it meets: the offsets, relative to the other's, between which it must not begin.
        self.denied: list[list[tuple[int, int, int]]] = [[] for _ in blocks]
        for i, j in ((i, j) for i, a in enumerate(blocks) for j, b in enumerate(blocks) if i != j and a.meets(b)):
            below, above = self.sizes[i] + guard, self.sizes[j] + guard
            if (i, j) in overlaps:
                lead = overlaps[i, j]
                self.denied[i] += [(j, -below, 0), (j, 0, above)] if lead is None else [(j, -below, lead)]
            elif (j, i) in overlaps:
                lead = overlaps[j, i]
                self.denied[i] += [(j, -below, 0), (j, 0, above)] if lead is None else [(j, -lead, above)]
            else:
                self.denied[i].append((j, -below, above))

    def first_fit(self, order: Sequence[int]) -> list[int]:
        """The offset of each block."""
        offsets = [-1] * len(order)
        for i in order:
            denied = sorted(
                (offsets[j] + start, offsets[j] + end) for j, start, end in self.denied[i] if offsets[j] >= 0
            )
            offset = self.guard
            for start, end in denied:
                if offset <= start:
                    break
                offset = max(offset, end)
            offsets[i] = offset
        return offsets

    def size(self, offsets: Sequence[int]) -> int:
        return max((offset + size for offset, size in zip(offsets, self.sizes, strict=True)), default=0)
