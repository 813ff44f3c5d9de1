"""A .tflite file with other op versions, shapes and constants, and everything else byte for byte as it was.

Offsets of a FlatBuffer are relative and lead forward. So what is new is put in front: a new model table and the vectors
and tables that change, which refer to the old content behind them. Weights, names and options are never taken apart,
and what a newer schema may hold in them is kept.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.edgetpu.flatbuffer import Damaged, Table
from pipeline.errors import ModelError, UnsupportedError
from pipeline.model import Array
from pipeline.tflite import MAX_RANK, Graph

# Field types of the tables that are made anew, by field number: r is a reference, others as in the struct module.
_MODEL = "IrrrrrrrQQ"
_SUBGRAPH = "rrrrri"
_CODE = "brii"
_OPERATOR = "IrrBrrbrrQQBri"
_TENSOR = "rbIrr?rr?r"
_BUFFER = "rQQ"

# Content that moves keeps its alignment: TFLite aligns buffers to 16 bytes.
_ALIGNMENT = 64


@dataclass(frozen=True)
class Edit:
    """What to change in a model's only subgraph.

    versions: op index -> version. dropped: ops to leave out. constants: tensor index -> the value it now always has.
    static: tensors whose shape_signature, with its -1, is to go. options: op index -> the type of the empty options it
    gets. outputs: the tensors that are the model's outputs now; None for those it had.
    """

    versions: Mapping[int, int] = field(default_factory=dict)
    dropped: frozenset[int] = frozenset()
    constants: Mapping[int, Array] = field(default_factory=dict)
    static: frozenset[int] = frozenset()
    options: Mapping[int, int] = field(default_factory=dict)
    outputs: tuple[int, ...] | None = None

    def __bool__(self) -> bool:
        return any((self.versions, self.dropped, self.constants, self.static, self.options, self.outputs is not None))


def rewrite(content: bytes, graph: Graph, edit: Edit) -> bytes:
    """Apply an edit to the bytes a graph was read from.

    Raises:  UnsupportedError: several subgraphs, or a part of the file is of a schema that is not known here.
             ModelError: the file is damaged.
    """
    try:
        return _rewrite(content, edit)
    except Damaged as error:
        raise ModelError(f"{graph.path}: damaged: {error}.", hint="convert the model again.") from error
    except _Unknown as error:
        raise UnsupportedError(
            f"{graph.path}: {error}, so that it cannot be rewritten safely.", hint="convert the model again, for int8."
        ) from error


def dynamic_tensors(content: bytes, graph: Graph) -> frozenset[int]:
    """The tensors whose shape_signature has a -1, although their shape itself, which is checked, is static.

    Raises:  ModelError: the file is damaged.
    """
    try:
        subgraph = next(Table.root(content, b"TFL3").vector(2, 4).tables(1 << 10))
        tensors = enumerate(subgraph.vector(0, 4).tables(1 << 22))
        return frozenset(index for index, tensor in tensors if min(tensor.vector(7, 4).ints(MAX_RANK), default=0) < 0)
    except (Damaged, StopIteration) as error:
        raise ModelError(f"{graph.path}: damaged: {error}.", hint="convert the model again.") from error


class _Unknown(Exception):
    """Something that must not be copied without knowing what it is."""


@dataclass(eq=False)
class _New:
    """A table, a vector of references or a vector of plain elements that is new, and where it will lie."""

    types: str = ""
    fields: dict[int, int | float | bool | _New] = field(default_factory=dict)
    old: dict[int, int] = field(default_factory=dict)  # references to what lies in the old content, by field
    entries: list[_New | int] | None = None  # an int is a position in the old content
    data: bytes | None = None
    width: int = 1  # bytes of one of data's elements
    position: int = 0


def _rewrite(content: bytes, edit: Edit) -> bytes:
    old = Table.root(content, b"TFL3")
    subgraphs = list(old.vector(2, 4).tables(1 << 10))
    if len(subgraphs) != 1:
        raise _Unknown(f"it has {len(subgraphs)} subgraphs")
    model, subgraph = _copy(old, _MODEL), _copy(subgraphs[0], _SUBGRAPH)
    old_codes = list(old.vector(1, 4).tables(1 << 16))
    old_tensors = list(subgraphs[0].vector(0, 4).tables(1 << 22))
    old_ops = list(subgraphs[0].vector(3, 4).tables(1 << 22))
    old_buffers = list(old.vector(4, 4).tables(1 << 22))
    if old.field(8) or old.field(9) or any(b.integer(1, "Q") > 1 or b.integer(2, "Q") > 1 for b in old_buffers):
        raise _Unknown("its weights lie outside of it, or at fixed places")

    codes: dict[tuple[int, int], tuple[int, _New]] = {}  # by old code and version: the place among the new ones
    ops: list[_New | int] = []
    for index, raw in enumerate(old_ops):
        if index in edit.dropped:
            continue
        place = raw.integer(0, "I")
        if place >= len(old_codes):
            raise Damaged(f"op {index} names operator code {place}, which is not there")
        key = place, edit.versions.get(index, old_codes[place].integer(2, "i", 1))
        if key not in codes:
            codes[key] = len(codes), _copy(old_codes[place], _CODE)
            codes[key][1].fields[2] = key[1]
        op = _copy(raw, _OPERATOR)
        op.fields[0] = codes[key][0]
        if raw.integer(9, "Q") > 1:
            raise _Unknown("a custom op's options lie at a fixed place")
        if index in edit.options:
            op.old.pop(4, None)
            op.fields |= {3: edit.options[index], 4: _New()}
        ops.append(op)

    tensors: list[_New | int] = []
    buffers: list[_New | int] = [b.position for b in old_buffers]
    for index, raw in enumerate(old_tensors):
        if index not in edit.constants and index not in edit.static:
            tensors.append(raw.position)
            continue
        tensor = _copy(raw, _TENSOR)
        if index in edit.constants:
            tensor.fields[2] = len(buffers)
            value = _New(data=edit.constants[index].astype(edit.constants[index].dtype.newbyteorder("<")).tobytes())
            buffers.append(_New(types=_BUFFER, fields={0: value}))
        tensor.old.pop(7, None)
        tensors.append(tensor)

    vectors = {name: _New(entries=e) for name, e in (("ops", ops), ("tensors", tensors), ("buffers", buffers))}
    model.fields |= {
        1: _New(entries=[code for _, code in codes.values()]),
        2: _New(entries=[subgraph]),
        4: vectors["buffers"],
    }
    subgraph.fields |= {0: vectors["tensors"], 3: vectors["ops"]}
    if edit.outputs is not None:
        subgraph.fields[2] = _New(data=struct.pack(f"<{len(edit.outputs)}i", *edit.outputs), width=4)
        subgraph.old.pop(2, None)
    for new, places in ((model, (1, 2, 4)), (subgraph, (0, 3))):
        for place in places:
            new.old.pop(place, None)
    return _assemble(content, model)


def _copy(table: Table, types: str) -> _New:
    """A table with the fields of another: numbers by value, references to what they lead to."""
    new = _New(types=types)
    for slot in range(table.slots()):
        if not table.field(slot, 1):
            continue
        if slot >= len(types):
            raise _Unknown(f"the table at byte {table.position:,} has a field {slot} of a newer schema")
        if types[slot] == "r":
            new.old[slot] = table.reference(slot)
        else:
            new.fields[slot] = table.number(slot, "B" if types[slot] == "?" else types[slot])
    return new


def _assemble(content: bytes, model: _New) -> bytes:
    """Lay out what is new, front to back so that references lead forward, and put the old content behind it."""
    order: list[_New] = []
    waiting = deque([model])
    while waiting:  # breadth first: who refers comes before what it refers to
        new = waiting.popleft()
        order.append(new)
        waiting += [v for v in new.fields.values() if isinstance(v, _New)]
        waiting += [e for e in new.entries or () if isinstance(e, _New)]
    end = 8  # the root's offset and the identifier
    for new in order:
        end = _place(new, end)
    shift = -(-end // _ALIGNMENT) * _ALIGNMENT
    out = bytearray(shift)
    struct.pack_into("<I4s", out, 0, model.position, b"TFL3")
    for new in order:
        _write(new, out, shift)
    return bytes(out) + content


def _layout(new: _New) -> tuple[dict[int, int], int]:
    """Offsets of a table's fields, the widest first behind the 4 bytes that lead to its vtable, and its size."""
    present = sorted({*new.fields, *new.old}, key=lambda slot: (-_width(new.types[slot]), slot))
    offsets, size = {}, 4
    for slot in present:
        offsets[slot] = size
        size += _width(new.types[slot])
    return offsets, size


def _width(code: str) -> int:
    return 4 if code == "r" else struct.calcsize(f"<{code}")


def _place(new: _New, end: int) -> int:
    """Give a place to one object behind `end`; returns where it ends."""
    if new.data is not None:
        new.position = -(-(end + 4) // 16) * 16 - 4  # what follows the count is aligned
        return new.position + 4 + len(new.data)
    if new.entries is not None:
        new.position = -(-end // 4) * 4
        return new.position + 4 + 4 * len(new.entries)
    offsets, size = _layout(new)
    vtable = 4 + 2 * (max(offsets, default=-1) + 1)
    # 4 bytes before a multiple of 8, so that fields of 8 bytes, which come first, are aligned.
    new.position = -(-(end + vtable + 4) // 8) * 8 - 4
    return new.position + size


def _write(new: _New, out: bytearray, shift: int) -> None:
    if new.data is not None:
        struct.pack_into("<I", out, new.position, len(new.data) // new.width)
        out[new.position + 4 : new.position + 4 + len(new.data)] = new.data
        return
    if new.entries is not None:
        struct.pack_into("<I", out, new.position, len(new.entries))
        for index, entry in enumerate(new.entries):
            where = new.position + 4 + 4 * index
            struct.pack_into("<I", out, where, _target(entry, shift) - where)
        return
    offsets, size = _layout(new)
    slots = [offsets.get(slot, 0) for slot in range(max(offsets, default=-1) + 1)]
    vtable = new.position - (4 + 2 * len(slots))
    struct.pack_into(f"<HH{len(slots)}H", out, vtable, 4 + 2 * len(slots), size, *slots)
    struct.pack_into("<i", out, new.position, new.position - vtable)
    for slot, offset in offsets.items():
        where = new.position + offset
        if new.types[slot] == "r":
            value = new.fields.get(slot, new.old.get(slot, 0))
            target = _target(value if isinstance(value, _New) else int(value), shift)
            struct.pack_into("<I", out, where, target - where)
        else:
            struct.pack_into(f"<{new.types[slot]}", out, where, new.fields[slot])


def _target(entry: _New | int, shift: int) -> int:
    return entry.position if isinstance(entry, _New) else entry + shift
