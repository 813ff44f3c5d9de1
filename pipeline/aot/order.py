"""Another order of the steps, in which less may be alive at once: a branch is finished before the next one begins."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from pipeline.aot.placement import aligned, shared_bytes
from pipeline.aot.steps import Step
from pipeline.tflite import Graph

_WORK = 1_000_000  # steps that are considered, half a second at the most


def frugal_order(graph: Graph, steps: Sequence[Step]) -> tuple[Step, ...]:
    """An order of computation in which the step that needs most bytes needs as few as possible.

    Of all sets of so many steps that may have been computed, those are kept that needed least: all of them in graphs
    with few branches or few steps, where the order is the best. Bytes are those of live tensors and scratch, less what
    an output may overlap its dying input; gaps that a plan leaves are not known here, so the plan has to show whether
    it is better. Steps that keep or change state stay in their order.
    """
    size, costs = _costs(graph, steps)
    kept = max(_WORK // (len(steps) ** 2 + 1), 1)
    at_start = sum(size[index] for index in {*graph.inputs} & size.keys())
    # Which steps were computed, as bits -> the most bytes until then, bytes alive, and the order.
    sets: dict[int, tuple[int, int, tuple[int, ...]]] = {0: (0, at_start, ())}
    for _ in steps:
        longer: dict[int, tuple[int, int, tuple[int, ...]]] = {}
        for done, (most, alive, order) in sets.items():
            ready = {}
            for number, cost in enumerate(costs):
                after = done | 1 << number
                if after != done and not cost.before & ~done:
                    needed, left = cost.bytes(size, alive, after)
                    ready[after] = (max(most, needed), left, (*order, number))
                    if needed <= most and left <= alive:  # it may as well be now
                        ready = {after: ready[after]}
                        break
            for after, found in ready.items():
                longer[after] = min(found, longer.get(after, found))
        sets = dict(heapq.nsmallest(kept, longer.items(), key=itemgetter(1)))
    ((_, _, order),) = sets.values()
    return tuple(steps[number] for number in order)


@dataclass(frozen=True)
class _Cost:
    """What a step needs. Blocks are tensors with memory of their own; sets of steps are bits.

    before: the steps that come first. made: its blocks. readers: of each block that it reads or makes, the steps that
    read it; -1 if it is never free. source: the block that what it makes may overlap, if that block dies there.
    """

    step: Step
    before: int
    made: tuple[int, ...]
    readers: Mapping[int, int]
    source: int | None

    def bytes(self, size: Mapping[int, int], alive: int, after: int) -> tuple[int, int]:
        """What is needed during the step and what is alive after it, of `alive` before and steps computed `after`."""
        dead = [block for block, readers in self.readers.items() if not readers & ~after]
        together = alive + sum(size[block] for block in self.made)
        needed = together + aligned(self.step.scratch_bytes)
        if self.source is not None and self.source in dead:
            needed -= shared_bytes(size[self.source], size[self.made[0]], self.step.lead_bytes)
        return needed, together - sum(size[block] for block in dead)


def _costs(graph: Graph, steps: Sequence[Step]) -> tuple[dict[int, int], list[_Cost]]:
    """The bytes of each block, and the steps' costs."""
    block = {index: index for index in graph.inputs if not graph.tensor(index).is_constant}
    for step in steps:
        for index in step.outputs:
            if not step.is_alias:
                block[index] = index
            elif step.inputs[0] in block:
                block[index] = block[step.inputs[0]]
    size: dict[int, int] = {}
    for index, root in block.items():
        size[root] = max(size.get(root, 0), aligned(graph.tensor(index).bytes))
    readers = dict.fromkeys(size, 0)
    producer: dict[int, int] = {}
    for number, step in enumerate(steps):
        producer |= dict.fromkeys(step.outputs, 1 << number)
        for index in block.keys() & {*step.inputs}:
            readers[block[index]] |= 1 << number
    readers |= {block[index]: -1 for index in graph.outputs if index in block}
    costs: list[_Cost] = []
    in_order = 0
    for number, step in enumerate(steps):
        before = 0
        for index in step.inputs:
            before |= producer.get(index, 0)
        if step.state or not step.outputs or not step.inputs:
            before |= in_order
            in_order |= 1 << number
        made = () if step.is_alias else step.outputs
        used = {block[index] for index in (*step.inputs, *made) if index in block}
        overlaps = len(made) == 1 and (step.in_place is not None or step.lead_bytes is not None)
        source = block.get(step.inputs[step.in_place or 0]) if overlaps else None
        costs.append(_Cost(step, before, made, {index: readers[index] for index in used}, source))
    return size, costs
