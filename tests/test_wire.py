"""Frames as bytes, and the agreement between Python's numbers and the firmware's."""

from __future__ import annotations

import os
import random
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import wire
from pipeline.wire import Command, Counter, Frame, Status, WireError

FIRMWARE = Path(__file__).parents[1] / "firmware"
# Bytes where COBS has something to do: runs without a zero around its 254, and zeros.
CONTENT = st.lists(st.sampled_from([b"\0", b"x", b"y" * 253, b"y" * 254, b"y" * 255]), max_size=8).map(b"".join)


def enum_in(header: str, prefix: str) -> dict[str, int]:
    text = (FIRMWARE / header).read_text()
    return {name: int(value) for name, value in re.findall(rf"\b{prefix}([A-Z0-9]+) = (\d+)", text)}


def test_the_firmwares_header_is_the_one_rendered_here() -> None:
    path = FIRMWARE / "frames/wire.h"
    if os.environ.get("TENSORFLASH_UPDATE_GOLDEN") == "1":
        path.write_text(wire.c_header())
    assert path.read_text() == wire.c_header()


def test_dtypes_and_counters_have_the_numbers_of_the_firmware() -> None:
    dtypes = enum_in("runtime/model.h", "TFLASH_")
    dtypes = {name.lower(): value for name, value in dtypes.items() if name.lower() in wire.DTYPES.values()}
    assert dtypes == {name: value for value, name in wire.DTYPES.items()}
    assert enum_in("ports/port.h", "TFLASH_COUNTER_") == {kind.name: kind.value for kind in Counter}


def test_the_tensor_limits_are_those_of_the_firmware() -> None:
    assert f"#define TFLASH_MAX_RANK {wire.MAX_RANK}\n" in (FIRMWARE / "runtime/model.h").read_text()
    assert wire.TENSOR.size + 4 * wire.MAX_RANK < wire.MAX_PAYLOAD
    assert wire.IDENTITY.size + 3 * (1 + wire.MAX_TEXT) <= wire.MAX_PAYLOAD


def test_a_frame_has_these_bytes() -> None:
    crc = 0xFFFFFFFF
    for byte in bytes.fromhex("02 00 04030201 0200 0100"):
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    expected = "00 02 02 06 04 03 02 01 02 02 01 05" + struct.pack("<I", crc ^ 0xFFFFFFFF).hex() + "00"
    assert wire.encode(Frame(Command.TENSOR, 0x01020304, b"\1\0")) == bytes.fromhex(expected)


@given(CONTENT | st.binary(max_size=600))
def test_stuffed_bytes_have_no_zero_and_come_back(data: bytes) -> None:
    stuffed = wire.cobs_encode(data)
    assert 0 not in stuffed
    assert wire.cobs_decode(stuffed) == data
    assert len(stuffed) <= len(data) + 1 + len(data) // 254


@given(st.integers(0, 127), st.integers(0, 2**32 - 1), st.binary(max_size=256), st.integers(0, 255))
def test_frames_come_back(kind: int, sequence: int, payload: bytes, status: int) -> None:
    frame = Frame(kind, sequence, payload, status)
    line = wire.encode(frame)
    assert line[0] == line[-1] == 0
    assert wire.decode(line[1:-1]) == frame


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    frame = Frame(Command.WRITE_INPUT, 7, bytes(range(100)))
    block = wire.encode(frame)[1:-1]
    for at in range(8 * len(block)):
        damaged = bytearray(block)
        damaged[at // 8] ^= 1 << at % 8
        if 0 not in damaged:
            assert wire.decode(bytes(damaged)) is None
    for length in range(len(block)):
        assert wire.decode(block[:length]) is None
        assert wire.decode(block[length + 1 :]) is None


def test_a_frame_whose_length_is_a_lie_is_none() -> None:
    for claimed in (0, 2, 4, 65535):
        body = wire.HEADER.pack(1, 0, 1, claimed) + b"abc"
        assert wire.decode(wire.cobs_encode(body + wire.CRC.pack(zlib.crc32(body)))) is None


def test_a_payload_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(ValueError, match="257 bytes; the most is 256"):
        wire.encode(Frame(1, 1, bytes(257)))


@settings(max_examples=300)
@given(st.binary(max_size=256))
def test_any_bytes_are_an_identity_and_a_tensor_or_a_wire_error(payload: bytes) -> None:
    for read, head in ((wire.parse_identity, b"\1"), (wire.parse_tensor, b"\0\2")):
        for data in (payload, head + payload):
            try:
                read(data)
            except WireError:
                continue


def test_a_tensor_is_read_back_with_its_escaped_name() -> None:
    payload = wire.TENSOR.pack(3, 2, 24, np.float32(0.1), -4) + struct.pack("<2I", 2, 3) + b"a\x1b\xffb"
    spec = wire.parse_tensor(payload)
    assert (spec.name, spec.shape, spec.dtype, spec.zero_point) == ("a\\x1b\\xffb", (2, 3), "int32", -4)
    assert np.float32(spec.scale) == np.float32(0.1)


def test_a_tensor_whose_bytes_are_not_its_shape_is_refused() -> None:
    payload = wire.TENSOR.pack(0, 1, 9, 1.0, 0) + struct.pack("<I", 8)
    with pytest.raises(WireError, match=r"shape \(8,\) int8 and 9 bytes"):
        wire.parse_tensor(payload)


def test_random_lines_are_no_frames() -> None:
    chance = random.Random(1)
    for _ in range(2000):
        assert wire.decode(chance.randbytes(chance.randrange(1, 300)).replace(b"\0", b"\1")) is None


def test_the_documented_numbers_are_these() -> None:
    text = (FIRMWARE.parent / "docs/protocol.md").read_text()
    commands, _, statuses = text.partition("## Status")
    assert re.findall(r"^\| (\d+) ([A-Z_]+) \|", commands, re.MULTILINE) == [(str(c.value), c.name) for c in Command]
    assert re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", statuses, re.MULTILINE) == [(str(s.value), s.name) for s in Status]
