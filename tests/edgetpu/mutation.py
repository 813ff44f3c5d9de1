"""Damage for files, where it does most."""

from __future__ import annotations

import numpy as np


def mutated(random: np.random.Generator, content: bytes) -> bytes:
    """A few bytes, or a whole word of them, replaced: most often where offsets and sizes are; sometimes cut short."""
    data = bytearray(content)
    for _ in range(int(random.integers(1, 5))):
        where = int(random.integers(len(data)))
        if random.random() < 0.5:
            data[where] = int(random.integers(256))
        else:
            values = (
                0,
                1,
                4,
                0x7FFFFFFF,
                0x80000000,
                0xFFFFFFFF,
                len(data),
                len(data) - 1,
                int(random.integers(1 << 32)),
            )
            where = min(where & ~3, len(data) - 4)
            data[where : where + 4] = int(values[int(random.integers(len(values)))]).to_bytes(4, "little")
    if random.random() < 0.1:
        del data[int(random.integers(len(data))) :]
    return bytes(data)
