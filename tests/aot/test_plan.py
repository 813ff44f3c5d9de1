"""The arena of networks: below TFLM's, and at the lower bound or as near as overlaps in a row let it be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline import interpreters, tflite, vectors
from pipeline.aot import PORTABLE, Core, export
from pipeline.aot.placement import aligned
from pipeline.tflite import Graph
from tests.benchmark_models import MODELS
from tests.kernels.batch import case_count
from tests.kernels.test_networks import network_case

CORES = {"": PORTABLE, "dsp": Core(frozenset({"dsp"})), "mve": Core(frozenset({"dsp", "mve"}))}
LARGEST_GAP = {"": 1600, "dsp": 0, "mve": 384}  # where overlaps follow each other, each begins below the one before


def bytes_without_overlaps(graph: Graph) -> int:
    """What TFLM needs for tensors alone: all that are alive in one op, none of which ever overlap, as RESHAPE's may."""
    ops = [op for op in graph.ops if op.name != "RESHAPE"]
    renamed = {op.outputs[0]: op.inputs[0] for op in graph.ops if op.name == "RESHAPE"}
    uses: dict[int, list[int]] = {}
    for number, op in enumerate(ops):
        for index in (*op.inputs, *op.outputs):
            uses.setdefault(renamed.get(index, index), []).append(number)
    alive = [[t for t, used in uses.items() if min(used) <= n <= max(used)] for n in range(len(ops))]
    return max(sum(graph.tensor(t).bytes for t in tensors if graph.tensor(t).data is None) for tensors in alive)


def compare_with_tflm(graph: Graph) -> None:
    for features, core in CORES.items():
        found = export(graph, core)
        assert found.arena_bytes <= bytes_without_overlaps(graph), f"{graph.name} on {features}"
        assert found.arena_bytes - found.arena_lower_bound <= LARGEST_GAP[features], f"{graph.name} on {features}"


@pytest.mark.parametrize("name", MODELS)
def test_the_arena_of_a_benchmark_network_is_below_that_of_tflm(name: str) -> None:
    compare_with_tflm(tflite.parse(MODELS[name](), Path(f"{name}.tflite")))


@pytest.mark.zoo
@pytest.mark.parametrize("name", ["kws_ref_model", "ad01_int8"])
def test_the_arena_of_a_published_model_is_below_that_of_tflm(name: str, model_zoo: Path) -> None:
    compare_with_tflm(tflite.read(model_zoo / "mlperf_tiny" / f"{name}.tflite"))


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_arena_of_a_benchmark_network_is_below_what_tflm_takes(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.tflite"
    path.write_bytes(MODELS[name]())
    graph = tflite.read(path)
    model = tflite.quantized_model(graph)
    tflm = interpreters.tflm_arena(model, vectors.make(model, 1, 0).inputs).bytes
    assert tflm >= bytes_without_overlaps(graph)
    assert all(export(graph, core).arena_bytes < tflm for core in CORES.values())


@pytest.mark.golden
def test_the_arena_of_a_random_network_is_not_above_that_of_tflm(capfd: pytest.CaptureFixture[str]) -> None:
    """TFLM keeps state and its own structures apart from tensors; fast kernels have scratch that its own need not."""
    from tflite_micro.python.tflite_micro import runtime

    gaps = []
    for case in (network_case(n, dtype) for n in range(case_count(12, 200)) for dtype in ("int8", "int16")):
        runtime.Interpreter.from_bytes(case.content, arena_size=1 << 20).print_allocations()
        said = capfd.readouterr().err
        total, tensors = (
            int(re.findall(rf"Arena allocation {part} (\d+) bytes", said)[0]) for part in ("total", "head")
        )
        for features, core in CORES.items():
            found = export(case.graph(), core)
            state = sum(aligned(slot.bytes) for slot in found.arena if slot.name.startswith("state of "))
            scratch = max((aligned(s.bytes) for s in found.arena if s.name.startswith("scratch of ")), default=0)
            where = f"{case.name} on {features}"
            assert found.arena_bytes < total, where
            assert found.arena_bytes <= tensors + state + (scratch if features else 0), where
            gaps.append(found.arena_bytes - found.arena_lower_bound)
    assert gaps.count(0) >= 0.99 * len(gaps)
