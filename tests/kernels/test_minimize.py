"""What fails is made small: of a network the ops that it takes, of their shapes the least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kernels.batch import HOST, Case, sources
from tests.kernels.minimize import differ_from_tflm, load, minimize, save
from tests.kernels.random_cases import Tape
from tests.kernels.test_elementwise_s8 import elementwise_case
from tests.kernels.test_networks import network_case


def wide_softmax(case: Case) -> bool:
    graph = case.graph()
    return any(op.name == "SOFTMAX" and graph.tensor(op.inputs[0]).shape[-1] > 2 for op in graph.ops)


def test_a_network_becomes_the_op_that_fails_at_its_least_size() -> None:
    number = next(n for n in range(100) if wide_softmax(network_case(n)) and len(network_case(n).graph().ops) > 8)

    def fails(cases: Sequence[Case]) -> list[bool]:
        return [wide_softmax(case) and bool((case.samples[-1][0] != 0).any()) for case in cases]

    small = minimize(lambda: network_case(number), fails)
    graph = small.graph()
    assert [op.name for op in graph.ops] == ["SOFTMAX"]
    assert graph.tensor(graph.inputs[0]).elements == 2 * 2 * 3 and len(small.samples) == 1


def test_a_case_that_does_not_fail_is_no_case_to_minimize() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        minimize(lambda: network_case(0), lambda cases: [False] * len(cases))


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("wrong", ["slope", "slope / (slope - slope)"], ids=["other bytes", "a crash"])
def test_it_is_told_which_case_of_many_fails(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def mutant(*given: Any) -> dict[str, bytes]:
        files = sources(*given)
        path = "kernels/prelu_s8.c"
        return files | ({path: files[path].replace(b"slope + p->offset2", wrong.encode())} if path in files else {})

    monkeypatch.setattr("tests.kernels.minimize.sources", mutant)
    cases = [elementwise_case(op, 1) for op in ("MAXIMUM", "PRELU", "ADD")]
    not_for_tflm = replace(cases[0], name="broken", content=cases[0].content[:-200])
    assert differ_from_tflm(HOST, cases) == [False, True, False]
    assert differ_from_tflm(HOST, [not_for_tflm]) == [False]


def test_the_choices_of_a_case_give_the_same_case_again() -> None:
    expected = network_case(3).content
    with Tape() as recorded:
        assert network_case(3).content == expected
    with Tape([choice for choice, _ in recorded.taken]):
        assert network_case(3).content == expected


def test_a_kept_case_is_the_one_that_was_saved(tmp_path: Path) -> None:
    case = next(case for case in map(network_case, range(100)) if len(case.samples[0]) == 2)
    save(case, tmp_path)
    kept = load(tmp_path / f"{case.name}.tflite")
    assert (kept.name, kept.content) == (case.name, case.content)
    for ours, theirs in zip(case.samples, kept.samples, strict=True):
        assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(ours, theirs, strict=True))
