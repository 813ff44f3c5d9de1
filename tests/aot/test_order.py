"""The order of computation may be another than the file's, where the arena is smaller with it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.aot import export
from pipeline.aot.lower import lower
from pipeline.aot.order import frugal_order
from pipeline.aot.plan import plan
from pipeline.aot.steps import Step
from tests.kernels.batch import HOST, Case, case_count, check
from tests.kernels.random_cases import Draw
from tests.kernels.test_networks import network_case
from tests.tflite_builder import TfliteBuilder


def branches_by_turns() -> Case:
    """Two branches that are wide only in the middle, and that the file has op by op in turns."""
    model = TfliteBuilder()
    x = model.input((1, 8), scale=0.1)
    wide = [model.tensor((1, 808), scale=0.1) for _ in range(2)]
    narrow = [model.tensor((1, 8), scale=0.1) for _ in range(2)]
    pads, begin, size = (model.constant(np.array(v, np.int32)) for v in ([[0, 0], [400, 400]], [0, 396], [1, 8]))
    for y in wide:
        model.op("PAD", [x, pads], [y])
    for y, z in zip(wide, narrow, strict=True):
        model.op("SLICE", [y, begin, size], [z])
    model.op("ADD", narrow, [model.output((1, 8), scale=0.2)], 2)
    return Case("branches", model.build(), Draw("branches", 0).samples([((1, 8), 0)]))


@pytest.mark.golden
def test_a_branch_is_finished_before_the_next_one_begins(tmp_path: Path) -> None:
    case = branches_by_turns()
    found = export(case.graph())
    assert [layer.op_index for layer in found.layers] == [0, 2, 1, 3, 4]
    assert found.arena_bytes < 2 * 808
    check([case], HOST, tmp_path)


def test_every_step_comes_after_what_it_reads_and_state_changes_in_the_order_of_the_file() -> None:
    for number in range(30):
        graph = network_case(number).graph()
        steps = lower(graph)
        order = frugal_order(graph, steps)
        assert sorted(step.op.index for step in order) == [step.op.index for step in steps]
        position = {index: n for n, step in enumerate(order) for index in step.outputs}
        assert all(position.get(index, -1) < n for n, step in enumerate(order) for index in step.inputs)
        changes = [step.op.index for step in order if step.state]
        assert changes == sorted(changes)


def test_no_other_order_has_a_smaller_arena() -> None:
    """None of 10 random ones, of 500 in a full run."""
    chance = random.Random(0)
    orders = case_count(10, 500)
    for number in range(20):
        graph = network_case(number).graph()
        steps = lower(graph)
        least = plan(graph, frugal_order(graph, steps)).arena_bytes
        for _ in range(orders):
            assert plan(graph, any_order(steps, chance)).arena_bytes >= least, number


def any_order(steps: Sequence[Step], chance: random.Random) -> list[Step]:
    """One in which each step comes after what it reads, and what changes state stays in its order."""
    waiting, order = list(steps), []
    while waiting:
        missing = {index for step in waiting for index in step.outputs}
        bound = [step for step in waiting if step.state or not step.outputs or not step.inputs]
        ready = [s for s in waiting if not missing.intersection(s.inputs) and (s not in bound or s is bound[0])]
        order.append(chance.choice(ready))
        waiting.remove(order[-1])
    return order
