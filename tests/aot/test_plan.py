"""The memory planner places everything without overlap and close to the lower bound."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import interpreters, tflite, vectors
from pipeline.aot import PORTABLE, Core, export
from pipeline.aot.plan import ALIGNMENT, Block, lower_bound, place
from pipeline.tflite import Graph
from tests.benchmark_models import MODELS

blocks = st.lists(
    st.builds(
        lambda size, first, length: Block("b", size, first, first + length),
        st.integers(1, 400),
        st.integers(-1, 12),
        st.integers(0, 6),
    ),
    min_size=1,
    max_size=24,
)


def size_of(placed: list[int], what: list[Block]) -> int:
    return max(o + -(-b.bytes // ALIGNMENT) * ALIGNMENT for o, b in zip(placed, what, strict=True))


@settings(max_examples=300, deadline=None)
@given(blocks, st.sampled_from([0, 16]))
def test_blocks_that_are_in_use_together_never_overlap(what: list[Block], guard: int) -> None:
    offsets = place(what, guard)
    for i, a in enumerate(what):
        assert offsets[i] % ALIGNMENT == 0
        assert offsets[i] >= guard
        for j, b in enumerate(what[:i]):
            if a.meets(b):
                assert offsets[i] + a.bytes + guard <= offsets[j] or offsets[j] + b.bytes + guard <= offsets[i]


@settings(max_examples=300, deadline=None)
@given(blocks)
def test_an_arena_is_never_smaller_than_its_lower_bound(what: list[Block]) -> None:
    assert size_of(place(what), what) >= lower_bound(what)


def test_a_chain_of_layers_reaches_its_lower_bound() -> None:
    sizes = [490, 8000, 8000, 8000, 64, 12]
    chain = [Block(str(i), size, i - 1, i) for i, size in enumerate(sizes)]
    assert size_of(place(chain), chain) == lower_bound(chain) == 16000


def test_a_residual_branch_keeps_its_source_alive() -> None:
    blocks = [Block("source", 1000, -1, 3), Block("a", 400, 0, 1), Block("b", 400, 1, 2), Block("sum", 1000, 2, 3)]
    placed = place(blocks)
    assert placed[0] + 1000 <= placed[3] or placed[3] + 1000 <= placed[0]
    assert size_of(placed, blocks) == lower_bound(blocks)


def test_a_larger_block_is_never_put_into_a_smaller_gap() -> None:
    blocks = [Block("left", 64, 0, 9), Block("right", 64, 0, 9), Block("first", 32, 0, 1), Block("second", 72, 2, 3)]
    placed = place(blocks)
    assert size_of(placed, blocks) == lower_bound(blocks) == 64 + 64 + 72


leads = st.none() | st.integers(0, 50).map(lambda words: words * ALIGNMENT)


def aligned(block: Block) -> int:
    return -(-block.bytes // ALIGNMENT) * ALIGNMENT


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 400), st.integers(1, 300), leads), min_size=1, max_size=12))
def test_an_output_overlaps_its_input_only_as_far_as_allowed(steps: list[tuple[int, int, int | None]]) -> None:
    """A chain of layers with scratch."""
    chain = [Block("t", size, step - 1, step) for step, (size, _, _) in enumerate(steps)]
    scratch = [Block("s", size, step, step) for step, (_, size, _) in enumerate(steps)]
    overlaps = {(step, step + 1): lead for step, (_, _, lead) in enumerate(steps[:-1])}
    offsets = place([*chain, *scratch], 0, overlaps)
    for (source, output), lead in overlaps.items():
        a, b = offsets[source], offsets[output]
        apart = a + aligned(chain[source]) <= b or b + aligned(chain[output]) <= a
        assert apart or (a == b if lead is None else b + lead <= a)
    for step, block in enumerate(scratch):
        mine = offsets[len(chain) + step]
        for tensor in (t for t, other in enumerate(chain) if other.meets(block)):
            assert mine + block.bytes <= offsets[tensor] or offsets[tensor] + chain[tensor].bytes <= mine
    assert size_of(offsets, [*chain, *scratch]) >= lower_bound([*chain, *scratch], overlaps)


def test_layers_that_may_overlap_need_hardly_more_than_the_largest() -> None:
    chain = [Block(str(i), 800, i - 1, i) for i in range(5)]
    overlaps: dict[tuple[int, int], int | None] = {(0, 1): 16, (1, 2): None, (2, 3): 0, (3, 4): 8}
    assert size_of(place(chain, 0, overlaps), chain) == 800 + 16 + 8
    assert lower_bound(chain, overlaps) == 816, "of one step at a time"


def test_the_search_closes_a_gap_that_the_greedy_orders_leave() -> None:
    sizes = [(3, 5, 8), (4, 0, 3), (1, 0, 1), (3, 4, 4), (4, 2, 2), (4, 3, 6), (4, 1, 1), (3, 5, 5), (3, 0, 0)]
    blocks = [Block(str(i), 8 * size, first, last) for i, (size, first, last) in enumerate(sizes)]
    assert size_of(place(blocks), blocks) == lower_bound(blocks)


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
    tflm = interpreters.tflm_arena(model, vectors.make(model, 1, 0).inputs).arena_bytes
    assert tflm >= bytes_without_overlaps(graph)
    assert all(export(graph, core).arena_bytes < tflm for core in CORES.values())
