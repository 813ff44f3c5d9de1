"""Another order of the steps, in which less may be alive at once: a branch is finished before the next one begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipeline.aot.steps import Step
from pipeline.tflite import Graph


def frugal_order(graph: Graph, steps: Sequence[Step]) -> tuple[Step, ...]:
    """An order of computation: of the steps that can come next always the one after which the least is alive.

    Greedy, so the plan has to show whether it is better. Steps that keep or change state stay in their order.
    """
    readers = Counter((*graph.outputs, *(index for step in steps for index in set(step.inputs))))
    waiting = list(steps)
    missing = {index for step in steps for index in step.outputs}
    order: list[Step] = []

    def growth(step: Step) -> int:
        made = 0 if step.is_alias else sum(graph.tensor(index).bytes for index in step.outputs)
        dying = [index for index in set(step.inputs) if readers[index] == 1 and not graph.tensor(index).is_constant]
        return made - sum(graph.tensor(index).bytes for index in dying)

    while waiting:
        bound = next((step for step in waiting if _is_bound(step)), None)
        ready = [
            step for step in waiting if not missing.intersection(step.inputs) and (step is bound or not _is_bound(step))
        ]
        chosen = min(ready, key=growth)
        waiting.remove(chosen)
        missing.difference_update(chosen.outputs)
        readers.subtract(set(chosen.inputs))
        order.append(chosen)
    return tuple(order)


def _is_bound(step: Step) -> bool:
    return bool(step.state) or not step.outputs or not step.inputs
