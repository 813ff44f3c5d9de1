"""Two arenas: which blocks lie in fast RAM (tightly coupled memory) and which in the rest.

A block is worth the more there, the more bytes are read and written in it for each byte that it holds.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.aot.placement import Block, Overlaps, layout_bytes, place


def place_in_two(
    blocks: Sequence[Block], accesses: Sequence[int], fast_bytes: int, overlaps: Overlaps
) -> tuple[list[int], int]:
    """Offsets of the blocks, and how many bytes the first arena has; what lies beyond them is in fast RAM.

    The most useful first, each block goes to fast RAM if all that is there still fits with it. Overlaps hold where both
    blocks are in the same RAM.

    Args:    accesses: bytes that one inference reads and writes in each block.
    """
    order = sorted(range(len(blocks)), key=lambda i: (-accesses[i] / max(blocks[i].bytes, 1), i))
    fast: list[int] = []
    for number in order:
        tried = sorted([*fast, number])
        if layout_bytes(*_placed(blocks, tried, overlaps, search=False)) <= fast_bytes:
            fast = tried
    slow = [number for number in range(len(blocks)) if number not in fast]
    offsets = dict(zip(slow, _placed(blocks, slow, overlaps)[1], strict=True))
    slow_bytes = layout_bytes([blocks[number] for number in slow], [offsets[number] for number in slow])
    fast_offsets = _placed(blocks, fast, overlaps, search=False)[1]
    offsets |= {number: slow_bytes + offset for number, offset in zip(fast, fast_offsets, strict=True)}
    return [offsets[number] for number in range(len(blocks))], slow_bytes


def _placed(
    blocks: Sequence[Block], chosen: Sequence[int], overlaps: Overlaps, search: bool = True
) -> tuple[list[Block], list[int]]:
    numbers = {number: position for position, number in enumerate(chosen)}
    inside = {
        (numbers[source], numbers[output]): lead
        for (source, output), lead in overlaps.items()
        if source in numbers and output in numbers
    }
    some = [blocks[number] for number in chosen]
    return some, place(some, 0, inside, search=search)
