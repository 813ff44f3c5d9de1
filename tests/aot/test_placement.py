"""Blocks are placed without an overlap that is not allowed, and close to the lower bound."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.aot.placement import ALIGNMENT, Block, layout_bytes, lower_bound, place
from pipeline.aot.regions import place_in_two

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


@settings(max_examples=100, deadline=None)
@given(blocks, st.sampled_from([0, 16]))
def test_blocks_that_are_in_use_together_never_overlap(what: list[Block], guard: int) -> None:
    offsets = place(what, guard)
    for i, a in enumerate(what):
        assert offsets[i] % ALIGNMENT == 0
        assert offsets[i] >= guard
        for j, b in enumerate(what[:i]):
            if a.meets(b):
                assert offsets[i] + a.bytes + guard <= offsets[j] or offsets[j] + b.bytes + guard <= offsets[i]


@settings(max_examples=100, deadline=None)
@given(blocks)
def test_an_arena_is_never_smaller_than_its_lower_bound(what: list[Block]) -> None:
    assert layout_bytes(what, place(what)) >= lower_bound(what)


def test_a_chain_of_layers_reaches_its_lower_bound() -> None:
    sizes = [490, 8000, 8000, 8000, 64, 12]
    chain = [Block(str(i), size, i - 1, i) for i, size in enumerate(sizes)]
    assert layout_bytes(chain, place(chain)) == lower_bound(chain) == 16000


def test_a_residual_branch_keeps_its_source_alive() -> None:
    blocks = [Block("source", 1000, -1, 3), Block("a", 400, 0, 1), Block("b", 400, 1, 2), Block("sum", 1000, 2, 3)]
    placed = place(blocks)
    assert placed[0] + 1000 <= placed[3] or placed[3] + 1000 <= placed[0]
    assert layout_bytes(blocks, placed) == lower_bound(blocks)


def test_a_larger_block_is_never_put_into_a_smaller_gap() -> None:
    blocks = [Block("left", 64, 0, 9), Block("right", 64, 0, 9), Block("first", 32, 0, 1), Block("second", 72, 2, 3)]
    placed = place(blocks)
    assert layout_bytes(blocks, placed) == lower_bound(blocks) == 64 + 64 + 72


leads = st.none() | st.integers(0, 50).map(lambda words: words * ALIGNMENT)


def aligned(block: Block) -> int:
    return -(-block.bytes // ALIGNMENT) * ALIGNMENT


@settings(max_examples=60, deadline=None)
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
    assert layout_bytes([*chain, *scratch], offsets) >= lower_bound([*chain, *scratch], overlaps)


def test_layers_that_may_overlap_need_hardly_more_than_the_largest() -> None:
    chain = [Block(str(i), 800, i - 1, i) for i in range(5)]
    overlaps: dict[tuple[int, int], int | None] = {(0, 1): 16, (1, 2): None, (2, 3): 0, (3, 4): 8}
    assert layout_bytes(chain, place(chain, 0, overlaps)) == 800 + 16 + 8
    assert lower_bound(chain, overlaps) == 816, "of one step at a time"


def test_the_search_closes_a_gap_that_the_greedy_orders_leave() -> None:
    sizes = [(3, 5, 8), (4, 0, 3), (1, 0, 1), (3, 4, 4), (4, 2, 2), (4, 3, 6), (4, 1, 1), (3, 5, 5), (3, 0, 0)]
    blocks = [Block(str(i), 8 * size, first, last) for i, (size, first, last) in enumerate(sizes)]
    assert layout_bytes(blocks, place(blocks)) == lower_bound(blocks)


def test_the_search_closes_a_gap_that_exchanges_alone_leave() -> None:
    wide = [(328, -1, 8), (96, -1, 12), (96, 1, 12), (96, 4, 12), (216, 8, 11), (128, 11, 12), (64, 11, 11)]
    parts = [(40, 9, 9), (40, 9, 12), (40, 9, 9), (40, 9, 12), (40, 9, 12), (40, 9, 12)]
    blocks = [Block(str(i), size, first, last) for i, (size, first, last) in enumerate([*wide, *parts])]
    overlaps: dict[tuple[int, int], int | None] = {(4, 5): 8}
    assert layout_bytes(blocks, place(blocks, 0, overlaps)) == lower_bound(blocks, overlaps) == 832


@settings(max_examples=40, deadline=None)
@given(blocks, st.integers(0, 1200))
def test_fast_ram_holds_no_more_than_it_has_and_nothing_lies_across(what: list[Block], fast_bytes: int) -> None:
    accesses = [17 * number % 900 for number in range(len(what))]
    offsets, slow_bytes = place_in_two(what, accesses, fast_bytes, {})
    assert layout_bytes(what, offsets) <= slow_bytes + fast_bytes or layout_bytes(what, offsets) == slow_bytes
    for i, a in enumerate(what):
        assert offsets[i] >= slow_bytes or offsets[i] + a.bytes <= slow_bytes
        for j, b in enumerate(what[:i]):
            if a.meets(b):
                assert offsets[i] + a.bytes <= offsets[j] or offsets[j] + b.bytes <= offsets[i]


def test_fast_ram_goes_to_what_is_accessed_most_for_its_size() -> None:
    blocks = [Block("idle", 800, 0, 9), Block("busy", 400, 0, 9), Block("small", 80, 0, 9)]
    offsets, slow_bytes = place_in_two(blocks, [900, 4000, 700], 480, {})
    assert (offsets, slow_bytes) == ([0, 800, 1200], 800)
