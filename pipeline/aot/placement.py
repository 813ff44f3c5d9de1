"""Blocks of memory, each in use for a time, get offsets: as near to the lower bound as a search finds them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

ALIGNMENT = 8  # bytes; the widest element type is int64


@dataclass(frozen=True)
class Block:
    """A piece of arena to be placed: bytes, and the steps first..last (inclusive) during which it is in use."""

    name: str
    bytes: int
    first: int
    last: int

    def meets(self, other: Block) -> bool:
        """Whether both are in use at some step."""
        return self.first <= other.last and other.first <= self.last


# (block that a step reads, block that it writes), by their number -> how many bytes before the first the second has to
# begin at the least, if they overlap; None: both have to begin at the same byte.
Overlaps = Mapping[tuple[int, int], int | None]


def aligned(size: int) -> int:
    """The next multiple of ALIGNMENT."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def lower_bound(blocks: Sequence[Block], overlaps: Overlaps | None = None) -> int:
    """The largest number of bytes that one step needs."""
    shared = {
        blocks[output].first: shared_bytes(aligned(blocks[source].bytes), aligned(blocks[output].bytes), lead)
        for (source, output), lead in (overlaps or {}).items()
    }
    moments = {b.first for b in blocks}
    needed = (sum(aligned(b.bytes) for b in blocks if b.first <= m <= b.last) - shared.get(m, 0) for m in moments)
    return max(needed, default=0)


def shared_bytes(source: int, output: int, lead: int | None) -> int:
    """How many bytes an input and an output of so many have in common at the most."""
    return source + output - min(source + output, max(output, (lead or 0) + source))


_ORDERS: tuple[Callable[[Block], tuple[int, ...]], ...] = (
    lambda b: (-b.bytes, b.first),
    lambda b: (b.first - b.last, -b.bytes),
    lambda b: (b.first, -b.bytes),
    lambda b: (-b.last, -b.bytes),
    lambda b: (-b.first, -b.bytes),
    lambda b: (-b.bytes * (b.last - b.first + 1), b.first),
)
_SEARCH_ORDERS, _SEARCH_WORK = 3_000, 2_000_000  # orders tried, pairs of blocks compared: half a second at the most


def place(
    blocks: Sequence[Block], guard_bytes: int = 0, overlaps: Overlaps | None = None, *, search: bool = True
) -> list[int]:
    """Offsets for the blocks such that no two that meet overlap, but those that may.

    The best of several greedy orders, each of which places its blocks one after another at the lowest offset that is
    free during their whole lifetime. Where that is above the lower bound, a search goes on from the best order: it
    exchanges two blocks or moves one, by turns, keeps what is no worse, and ends at the bound or after fixed work. With
    guards there is no search: nobody asks how small such an arena is.
    """
    layout = _Layout(blocks, aligned(guard_bytes), overlaps or {})
    orders = [sorted(range(len(blocks)), key=lambda i: (order(blocks[i]), i)) for order in _ORDERS]
    size, best = min((layout.size(layout.first_fit(order)), order) for order in orders)
    bound = lower_bound(blocks, overlaps)
    chance = random.Random(0)  # noqa: S311 - the same search every time
    tries = min(_SEARCH_ORDERS, _SEARCH_WORK // (len(blocks) ** 2 + 1)) if search and not guard_bytes else 0
    for number in range(tries):
        if size <= bound or len(blocks) < 2:
            break
        order = list(best)
        i, j = chance.sample(range(len(blocks)), 2)
        if number % 2:
            order.insert(j, order.pop(i))
        else:
            order[i], order[j] = order[j], order[i]
        found = layout.size(layout.first_fit(order))
        if found <= size:
            size, best = found, order
    return layout.first_fit(best)


def layout_bytes(blocks: Sequence[Block], offsets: Sequence[int]) -> int:
    """The bytes from 0 to the end of the highest block."""
    return max((offset + aligned(block.bytes) for block, offset in zip(blocks, offsets, strict=True)), default=0)


class _Layout:
    """Blocks to be placed, and which offsets two of them deny each other."""

    def __init__(self, blocks: Sequence[Block], guard: int, overlaps: Overlaps) -> None:
        self.guard = guard
        self.sizes = [aligned(block.bytes) for block in blocks]
        # For each block and one that it meets: the offsets, relative to the other's, between which it must not begin.
        self.denied: list[list[tuple[int, int, int]]] = [[] for _ in blocks]
        for i, j in ((i, j) for i, a in enumerate(blocks) for j, b in enumerate(blocks) if i != j and a.meets(b)):
            below, above = self.sizes[i] + guard, self.sizes[j] + guard
            if (i, j) in overlaps:
                lead = overlaps[i, j]
                self.denied[i] += [(j, -below, 0), (j, 0, above)] if lead is None else [(j, -below, lead)]
            elif (j, i) in overlaps:
                lead = overlaps[j, i]
                self.denied[i] += [(j, -below, 0), (j, 0, above)] if lead is None else [(j, -lead, above)]
            else:
                self.denied[i].append((j, -below, above))

    def first_fit(self, order: Sequence[int]) -> list[int]:
        """The offset of each block."""
        offsets = [-1] * len(order)
        for i in order:
            denied = sorted(
                (offsets[j] + start, offsets[j] + end) for j, start, end in self.denied[i] if offsets[j] >= 0
            )
            offset = self.guard
            for start, end in denied:
                if offset <= start:
                    break
                offset = max(offset, end)
            offsets[i] = offset
        return offsets

    def size(self, offsets: Sequence[int]) -> int:
        return max((offset + size for offset, size in zip(offsets, self.sizes, strict=True)), default=0)
