"""A random case that fails becomes a small one that still fails, kept in regressions/ for test_regressions.py.

    python -m tests.kernels.minimize cortex-m55-mve test_networks.network_case 282
    python -m tests.kernels.minimize host test_elementwise_s8.elementwise_case MUL 17

What a case draws - how many ops, which, their shapes - is a sequence of small integers. Sequences with some of them
left out or nearer to 0 give smaller cases, and the smallest that fails is the next to start from.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.aot import export
from pipeline.errors import TensorflashError
from tests.kernels import test_dsp, test_mve
from tests.kernels.batch import EMULATED, HOST, Case, Target, build, differing, run, sources, tflm_outputs
from tests.kernels.random_cases import Tape

REGRESSIONS = Path(__file__).parent / "regressions"
AT_ONCE = 40
TARGETS = {target.name: target for target in (HOST, *EMULATED, test_mve.HELIUM)}
TARGETS |= {target.name: target for (target,) in (parameter.values for parameter in test_dsp.TARGETS)}

Fails = Callable[[Sequence[Case]], list[bool]]


@dataclass(frozen=True)
class Attempt:
    case: Case
    taken: tuple[tuple[int, int], ...]

    @property
    def size(self) -> tuple[int, ...]:
        """Ops, elements of all tensors, choices, and how far these are from the least."""
        graph = self.case.graph()
        elements = sum(tensor.elements for tensor in graph.tensors)
        return len(graph.ops), elements, len(self.taken), sum(abs(choice - least) for choice, least in self.taken)


def minimize(make: Callable[[], Case], fails: Fails) -> Case:
    """The smallest case found that fails, of what `make` makes from other choices.

    Raises:  ValueError: the case does not fail.
    """
    best = _attempt(make, None)
    if best is None or fails([best.case]) != [True]:
        raise ValueError("the case does not fail")
    while (smaller := _smaller(best, make, fails)) is not None:
        best = smaller
    shorter = [replace(best.case, samples=best.case.samples[: n + 1]) for n in range(len(best.case.samples))]
    return next(case for case, failed in zip(shorter, _fail(shorter, fails), strict=True) if failed)


def _smaller(best: Attempt, make: Callable[[], Case], fails: Fails) -> Attempt | None:
    """One that fails, the smallest of those that are made in the same way."""
    for group in _variants(best):
        attempts = {attempt.taken: attempt for choices in group if (attempt := _attempt(make, choices))}
        order = sorted((attempt.size, taken) for taken, attempt in attempts.items())
        smaller = [attempts[taken] for size, taken in order if size < best.size]
        for first in range(0, len(smaller), AT_ONCE):
            some = smaller[first : first + AT_ONCE]
            failed = _fail([attempt.case for attempt in some], fails)
            if any(failed):
                return some[failed.index(True)]
    return None


def _variants(best: Attempt) -> Iterator[list[list[int]]]:
    """Runs of choices left out, or made those nearest to 0, the longest first; then single ones nearer to it."""
    choices, least = [c for c, _ in best.taken], [nearest for _, nearest in best.taken]
    for length in (32, 16, 12, 9, 7, 5, 4, 3, 2, 1):  # an op is 3 to 12 of them
        starts = range(0, len(choices), max(length // 6, 1))
        yield [choices[:start] + choices[start + length :] for start in starts]
        yield [choices[:start] + least[start : start + length] + choices[start + length :] for start in starts]
    steps = [(choice - nearest) - int((choice - nearest) / 2) for choice, nearest in best.taken]
    for change in (steps, [(step > 0) - (step < 0) for step in steps]):
        yield [[*choices[:n], choices[n] - change[n], *choices[n + 1 :]] for n in range(len(choices)) if change[n]]


def _attempt(make: Callable[[], Case], choices: Sequence[int] | None) -> Attempt | None:
    """The case of these choices, or nothing where they make none."""
    with Tape(choices) as tape:
        try:
            case = make()
            export(case.graph())
        except (TensorflashError, ValueError, IndexError):
            return None
    return Attempt(case, tuple(tape.taken))


def _fail(cases: Sequence[Case], fails: Fails) -> list[bool]:
    """Their names in one program have to be different."""
    return fails([replace(case, name=f"case_{number}") for number, case in enumerate(cases)])


def differ_from_tflm(target: Target, cases: Sequence[Case]) -> list[bool]:
    """Which cases TFLM can run and the target runs with other bytes, or not to the end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            golden = tflm_outputs(cases, folder / "golden")
        except AssertionError:  # one that TFLM does not take ends all
            return [False] if len(cases) == 1 else _in_halves(target, cases)
        try:
            answers = run(build(sources(cases, target.core), target, folder / "c"), cases, target, folder / "c")
        except AssertionError:
            return [True] if len(cases) == 1 else _in_halves(target, cases)
        return [bool(differing([c], [g], [a])) for c, g, a in zip(cases, golden, answers, strict=True)]


def _in_halves(target: Target, cases: Sequence[Case]) -> list[bool]:
    half = len(cases) // 2
    return differ_from_tflm(target, cases[:half]) + differ_from_tflm(target, cases[half:])


def save(case: Case, folder: Path) -> None:
    """NAME.tflite, and NAME.npz with array s_i for input i of sample s."""
    folder.mkdir(exist_ok=True)
    (folder / f"{case.name}.tflite").write_bytes(case.content)
    arrays = {f"{s}_{i}": array for s, sample in enumerate(case.samples) for i, array in enumerate(sample)}
    np.savez_compressed(folder / f"{case.name}.npz", **arrays)


def load(model: Path) -> Case:
    """What `save` wrote."""
    with np.load(model.with_suffix(".npz"), allow_pickle=False) as arrays:
        count = 1 + max(int(name.split("_")[0]) for name in arrays.files)
        inputs = len(arrays.files) // count
        samples = tuple(tuple(arrays[f"{s}_{i}"] for i in range(inputs)) for s in range(count))
    return Case(model.stem, model.read_bytes(), samples)


def main(target: str, maker: str, *given: str) -> None:
    module, function = maker.split(".")
    make = getattr(importlib.import_module(f"tests.kernels.{module}"), function)
    arguments = [int(text) if text.isdigit() else text for text in given]
    found = minimize(lambda: make(*arguments), lambda cases: differ_from_tflm(TARGETS[target], cases))
    save(replace(found, name=make(*arguments).name), REGRESSIONS)
    for op in found.graph().ops:
        shapes = [found.graph().tensor(index).shape for index in (*op.inputs, *op.outputs) if index >= 0]
        print(op.name, dict(op.options), *shapes)


if __name__ == "__main__":
    main(*sys.argv[1:])
