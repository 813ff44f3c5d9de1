"""The memory planner places everything without overlap and close to the lower bound."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.aot.plan import ALIGNMENT, Block, lower_bound, place

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
