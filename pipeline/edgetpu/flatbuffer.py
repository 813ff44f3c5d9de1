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

# Types of FlexBuffers, as far as they are read here.
_FLEX_INT, _FLEX_UINT, _FLEX_STRING, _FLEX_MAP, _FLEX_BLOB, _FLEX_BOOL = 1, 2, 5, 9, 25, 26


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
        if self.count > limit:
            raise Damaged(f"{self.count:,} entries at byte {self.start:,}; {limit:,} are the most that make sense")
        for index in range(self.count):
            yield Table.at(self.data, follow(self.data, self.start + 4 * index))

    def texts(self, limit: int) -> Iterator[bytes]:
        """The strings a vector of offsets names; more than `limit` are refused."""
        if self.count > limit:
            raise Damaged(f"{self.count:,} entries at byte {self.start:,}; {limit:,} are the most that make sense")
        for index in range(self.count):
            at = follow(self.data, self.start + 4 * index)
            size = _U32.unpack_from(self.data, at)[0] if at + 4 <= len(self.data) else len(self.data)
            if at + 4 + size > len(self.data):
                raise Damaged(f"the string at byte {at:,} has {size:,} bytes, which do not fit the data")
            yield self.data[at + 4 : at + 4 + size]

    def ints(self) -> tuple[int, ...]:
        """The elements of a vector of int32."""
        return struct.unpack_from(f"<{self.count}i", self.data, self.start)

    def bytes(self) -> bytes:
        """The elements as they lie there."""
        return self.data[self.start : self.start + self.count * self.width]


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
        if not where:
            return Vector(self.data, 0, 0, width)
        if where > len(self.data) - 4:
            raise Damaged(f"a vector at byte {where:,} of {len(self.data):,}")
        count: int = _U32.unpack_from(self.data, where)[0]
        if where + 4 + count * width > len(self.data):
            raise Damaged(f"the vector at byte {where:,} has {count:,} elements, which do not fit the data")
        return Vector(self.data, where + 4, count, width)

    def text(self, slot: int) -> str:
        """A string, "" where it is absent; what is not UTF-8 is replaced."""
        return self.vector(slot, 1).bytes().decode("utf-8", "replace")


def follow(data: bytes, where: int) -> int:
    """The position an unsigned offset at `where` leads to.  Raises:  Damaged: it leads out of the data."""
    if not 0 <= where <= len(data) - 4:
        raise Damaged(f"an offset at byte {where:,} of {len(data):,}")
    target: int = where + _U32.unpack_from(data, where)[0]
    if target == where or target >= len(data):
        raise Damaged(f"the offset at byte {where:,} leads to byte {target:,} of {len(data):,}")
    return target


def flex_map(data: bytes) -> dict[str, int | bytes]:
    """The integers, strings and blobs of a FlexBuffer whose root is a map; values of other types are left out.

    Raises:  Damaged: it is no map, or leads out of the data.
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
    found: dict[str, int | bytes] = {}
    for index in range(count):
        start = _flex_indirect(data, keys + index * key_step, key_step)
        end = data.find(b"\0", start, start + 64)
        if end < 0:
            raise Damaged(f"a key at byte {start:,} without an end")
        name = data[start:end].decode("ascii", "replace")
        where, kind = values + index * step, data[values + count * step + index]
        if kind >> 2 in (_FLEX_INT, _FLEX_UINT, _FLEX_BOOL):
            found[name] = _flex_uint(data, where, step)
        elif kind >> 2 in (_FLEX_STRING, _FLEX_BLOB):
            at, size_step = _flex_indirect(data, where, step), 1 << (kind & 3)
            size = _flex_uint(data, at - size_step, size_step)
            if at + size > len(data):
                raise Damaged(f"the value of key {name!r} has {size:,} bytes, which do not fit the data")
            found[name] = data[at : at + size]
    return found


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
