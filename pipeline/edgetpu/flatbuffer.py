"""FlatBuffers and FlexBuffers from untrusted files, every offset checked against the bytes that are there.

Formats: flatbuffers.dev, "Internals" and "FlexBuffers". Offsets lead forward (tables, vectors) or backward (vtables,
FlexBuffers) by relative amounts; a reader that follows them unchecked leaves the file. This one raises Damaged instead.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_SCALARS = {code: struct.Struct(f"<{code}") for code in "bBhHiIqQf"}
_WIDTHS = {1: struct.Struct("<B"), 2: _U16, 4: _U32, 8: struct.Struct("<Q")}

# Types of FlexBuffers that are read here.
_FLEX_STRING, _FLEX_MAP, _FLEX_BLOB = 5, 9, 25


class Damaged(ValueError):
    """The bytes contradict themselves; the message says where."""


@dataclass(frozen=True)
class Vector:
    """A vector's first element and how many there are; all of them lie within the data."""

    data: bytes
    start: int
    count: int
    width: int

    def tables(self, limit: int) -> Iterator[Table]:
        """The tables a vector of offsets names; more than `limit` are refused."""
        self._require_at_most(limit)
        for index in range(self.count):
            yield Table.at(self.data, follow(self.data, self.start + 4 * index))

    def strings(self, limit: int) -> list[Vector]:
        """The strings a vector of offsets names; more than `limit` are refused."""
        self._require_at_most(limit)
        return [_vector(self.data, follow(self.data, self.start + 4 * index), 1) for index in range(self.count)]

    def ints(self, limit: int) -> tuple[int, ...]:
        """The elements of a vector of int32; more than `limit` are refused."""
        self._require_at_most(limit)
        return struct.unpack_from(f"<{self.count}i", self.data, self.start)

    def bytes(self) -> bytes:
        """The elements as they lie there."""
        return self.data[self.start : self.start + self.count * self.width]

    def _require_at_most(self, limit: int) -> None:
        if self.count > limit:
            raise Damaged(f"{self.count:,} entries at byte {self.start:,}; {limit:,} are the most that make sense")


@dataclass(frozen=True)
class Table:
    """A table: its own position, its vtable's, and how many bytes each has."""

    data: bytes
    position: int
    vtable: int
    vtable_bytes: int
    table_bytes: int

    @staticmethod
    def at(data: bytes, position: int) -> Table:
        """The table at a position.  Raises:  Damaged: it or its vtable leaves the data."""
        if not 0 <= position <= len(data) - 4:
            raise Damaged(f"a table at byte {position:,} of {len(data):,}")
        vtable = position - _I32.unpack_from(data, position)[0]
        if not 0 <= vtable <= len(data) - 4:
            raise Damaged(f"a vtable at byte {vtable:,} of {len(data):,}")
        size, table_bytes = _U16.unpack_from(data, vtable)[0], _U16.unpack_from(data, vtable + 2)[0]
        if size < 4 or size % 2 or vtable + size > len(data) or table_bytes < 4 or position + table_bytes > len(data):
            raise Damaged(f"the vtable at byte {vtable:,} does not fit its table")
        return Table(data, position, vtable, size, table_bytes)

    @staticmethod
    def root(data: bytes, identifier: bytes) -> Table:
        """The root table of a file with a four-byte identifier."""
        if len(data) < 8 or data[4:8] != identifier:
            raise Damaged(f"bytes 4 to 8 are not {identifier.decode()}")
        return Table.at(data, follow(data, 0))

    def slots(self) -> int:
        """How many fields the vtable knows."""
        return (self.vtable_bytes - 4) // 2

    def field(self, slot: int, width: int = 4) -> int:
        """Where a field of `width` bytes lies; 0 where it is absent."""
        entry = 4 + 2 * slot
        if entry >= self.vtable_bytes:
            return 0
        offset: int = _U16.unpack_from(self.data, self.vtable + entry)[0]
        if offset == 0:
            return 0
        if offset < 4 or offset + width > self.table_bytes:
            raise Damaged(f"field {slot} of the table at byte {self.position:,} lies outside of it")
        return self.position + offset

    def number(self, slot: int, code: str = "i", default: float = 0) -> int | float:
        """A scalar; code as in the struct module."""
        scalar = _SCALARS[code]
        where = self.field(slot, scalar.size)
        return scalar.unpack_from(self.data, where)[0] if where else default

    def integer(self, slot: int, code: str = "i", default: int = 0) -> int:
        """A whole number."""
        return int(self.number(slot, code, default))

    def reference(self, slot: int) -> int:
        """Where the object lies that a field refers to; 0 where the field is absent."""
        where = self.field(slot)
        return follow(self.data, where) if where else 0

    def table(self, slot: int) -> Table | None:
        """A table that a field refers to."""
        where = self.reference(slot)
        return Table.at(self.data, where) if where else None

    def vector(self, slot: int, width: int) -> Vector:
        """A vector of elements of `width` bytes; an absent one is empty."""
        where = self.reference(slot)
        return _vector(self.data, where, width) if where else Vector(self.data, 0, 0, width)

    def text(self, slot: int, limit: int = 4096) -> str:
        """A string, "" where it is absent; what is not UTF-8 is replaced. More than `limit` bytes are refused."""
        vector = self.vector(slot, 1)
        if vector.count > limit:
            raise Damaged(f"a name of {vector.count:,} bytes at byte {vector.start:,}")
        return vector.bytes().decode("utf-8", "replace")


def follow(data: bytes, where: int) -> int:
    """The position an unsigned offset at `where` leads to.  Raises:  Damaged: it leads out of the data."""
    if not 0 <= where <= len(data) - 4:
        raise Damaged(f"an offset at byte {where:,} of {len(data):,}")
    target: int = where + _U32.unpack_from(data, where)[0]
    if target == where or target >= len(data):
        raise Damaged(f"the offset at byte {where:,} leads to byte {target:,} of {len(data):,}")
    return target


def _vector(data: bytes, where: int, width: int) -> Vector:
    if where > len(data) - 4:
        raise Damaged(f"a vector at byte {where:,} of {len(data):,}")
    count: int = _U32.unpack_from(data, where)[0]
    if where + 4 + count * width > len(data):
        raise Damaged(f"the vector at byte {where:,} has {count:,} elements, which do not fit the data")
    return Vector(data, where + 4, count, width)


def flex_bytes(data: bytes, key: bytes) -> bytes:
    """The string or blob of one key of a FlexBuffer whose root is a map.

    Raises:  Damaged: it is no map, leads out of the data, or has no such key or one of another type.
    """
    if len(data) < 3:
        raise Damaged("too short for a FlexBuffer")
    width, packed = data[-1], data[-2]
    if width not in _WIDTHS or packed >> 2 != _FLEX_MAP:
        raise Damaged("the options are not a FlexBuffer map")
    values, step = _flex_indirect(data, len(data) - 2 - width, width), 1 << (packed & 3)
    count = _flex_uint(data, values - step, step)
    key_step = _flex_uint(data, values - 2 * step, step)
    if count > 64 or key_step not in _WIDTHS or values + count * (step + 1) > len(data):
        raise Damaged(f"a map of {count:,} entries at byte {values:,}")
    keys = _flex_indirect(data, values - 3 * step, step)
    for index in range(count):
        start = _flex_indirect(data, keys + index * key_step, key_step)
        if data[start : start + len(key) + 1] != key + b"\0":
            continue
        where, kind = values + index * step, data[values + count * step + index]
        if kind >> 2 not in (_FLEX_STRING, _FLEX_BLOB):
            break
        at, size_step = _flex_indirect(data, where, step), 1 << (kind & 3)
        size = _flex_uint(data, at - size_step, size_step)
        if at + size > len(data):
            raise Damaged(f"the value of key {key.decode()!r} has {size:,} bytes, which do not fit the data")
        return data[at : at + size]
    raise Damaged(f"its options have no content under the key {key.decode()!r}")


def _flex_uint(data: bytes, where: int, width: int) -> int:
    if not 0 <= where <= len(data) - width:
        raise Damaged(f"{width} bytes at byte {where:,} of {len(data):,}")
    value: int = _WIDTHS[width].unpack_from(data, where)[0]
    return value


def _flex_indirect(data: bytes, where: int, width: int) -> int:
    target = where - _flex_uint(data, where, width)
    if target < 0:
        raise Damaged(f"the offset at byte {where:,} leads before the data")
    return target
