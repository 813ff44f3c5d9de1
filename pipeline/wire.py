"""The frames between host and firmware: their ids, their bytes, and the C header with the same numbers.

    on the line    00 | COBS(frame) | 00
    frame          type u8 | status u8 | sequence u32 | length u16 | payload, `length` bytes | CRC-32 of all before, u32

All numbers are little endian. docs/protocol.md says what each command does; `firmware/frames/wire.h` is `c_header()`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from pipeline.model import TensorSpec

PROTOCOL = 1
MAX_PAYLOAD = 256
MAX_INPUTS = 16
MAX_RANK = 8
MAX_TEXT = 63
HEADER = struct.Struct("<BBIH")
CRC = struct.Struct("<I")
WRITE = struct.Struct("<BI")  # WRITE_INPUT: tensor, offset; the bytes follow
READ = struct.Struct("<BIH")  # READ_OUTPUT: tensor, offset, length; READ_LAYER: 0, offset, length
PROGRESS = struct.Struct("<BHI")  # reply to INVOKE and CONTINUE: state, layer, value
IDENTITY = struct.Struct("<BBBBBHI32s")  # reply to HELLO, before its three texts
TENSOR = struct.Struct("<BBIfi")  # reply to TENSOR, before the shape and the name
STATS = struct.Struct("<II")  # reply to STATS: stack bytes, arena bytes in use
REPLY = 0x80  # in `type`: the device answers
TRACE = 0x01  # in INVOKE's flags: pause after each layer
PROFILE = 0x02  # with TRACE: the pauses and the end tell what was counted since the last pause

MAX_FRAME = HEADER.size + MAX_PAYLOAD + CRC.size
MAX_WRITE = MAX_PAYLOAD - WRITE.size


class Command(IntEnum):
    """What the host asks."""

    HELLO = 1
    TENSOR = 2
    WRITE_INPUT = 3
    INVOKE = 4
    READ_OUTPUT = 5
    READ_LAYER = 6
    CONTINUE = 7
    STATS = 8
    RESET = 9


class Status(IntEnum):
    """How it went. Only OK carries the command's reply; OUT_OF_ORDER carries the number that was expected, u32."""

    OK = 0
    UNKNOWN_COMMAND = 1
    BAD_LENGTH = 2  # the payload is too short or too long for its command
    BAD_TENSOR = 3  # there is no such tensor
    OUT_OF_RANGE = 4  # bytes outside the tensor, or more than a payload holds
    INCOMPLETE = 5  # an input has bytes that were not written since the last invoke
    WRONG_STATE = 6  # not now: paused in a trace, or not paused, or no answer to read
    NO_SESSION = 7  # the device has started and awaits HELLO
    OUT_OF_ORDER = 8
    INIT_FAILED = 9
    INVOKE_FAILED = 10
    NO_TRACE = 11  # this build cannot pause after layers
    UNSUPPORTED = 12  # the model has more inputs than the firmware keeps track of


class Progress(IntEnum):
    """Where an invoke stands. PAUSED: value is the layer's bytes. DONE: value is the counter's difference.

    In a profile both values are the counter's difference since the last pause.
    """

    DONE = 0
    PAUSED = 1


class Reset(IntEnum):
    """FORGET: the model starts anew. RESTART: the device does."""

    FORGET = 0
    RESTART = 1


class IdentityFlag(IntEnum):
    """Bits of the identity's flags."""

    TRACE_BUILD = 1
    READY = 2  # the model's init() succeeded


class Counter(IntEnum):
    """What the device counts: enum tflash_counter of firmware/ports/port.h."""

    NONE = 0
    TICKS = 1
    CYCLES = 2


# enum tflash_dtype of firmware/runtime/model.h -> NumPy's name.
DTYPES: dict[int, str] = {0: "int8", 1: "uint8", 2: "int16", 3: "int32", 4: "float32", 5: "bool", 6: "int64"}


class WireError(ValueError):
    """Bytes that are not what the protocol says."""


@dataclass(frozen=True)
class Frame:
    """One request or reply. type is a Command, with REPLY added by the device."""

    type: int
    sequence: int
    payload: bytes = b""
    status: int = Status.OK


@dataclass(frozen=True)
class Identity:
    """What a device says it is. model_sha256 is of the .tflite file, in hex."""

    protocol: int
    model_sha256: str
    model_name: str
    runtime: str
    board: str
    inputs: int
    outputs: int
    layers: int
    arena_bytes: int
    counter: Counter
    trace_build: bool
    ready: bool


def encode(frame: Frame) -> bytes:
    """The frame's bytes on the line, with a delimiter on both sides."""
    if len(frame.payload) > MAX_PAYLOAD:
        raise ValueError(f"a payload of {len(frame.payload)} bytes; the most is {MAX_PAYLOAD}.")
    body = HEADER.pack(frame.type, frame.status, frame.sequence, len(frame.payload)) + frame.payload
    return b"\0" + cobs_encode(body + CRC.pack(zlib.crc32(body))) + b"\0"


def decode(block: bytes) -> Frame | None:
    """The frame of what lay between two delimiters; None where it is none, or a damaged one."""
    content = cobs_decode(block)
    if content is None or not HEADER.size + CRC.size <= len(content) <= MAX_FRAME:
        return None
    kind, status, sequence, length = HEADER.unpack_from(content)
    body = content[: -CRC.size]
    if len(body) != HEADER.size + length or CRC.unpack_from(content, len(body))[0] != zlib.crc32(body):
        return None
    return Frame(kind, sequence, body[HEADER.size :], status)


def cobs_encode(data: bytes) -> bytes:
    """Consistent overhead byte stuffing: the same content without a zero byte.

    Source:  Cheshire and Baker, Consistent Overhead Byte Stuffing, IEEE/ACM Transactions on Networking 7(2), 1999.
    """
    out = bytearray()
    for run in data.split(b"\0"):
        whole = len(run) // 254 * 254
        for start in range(0, whole, 254):
            out += b"\xff" + run[start : start + 254]
        out.append(len(run) - whole + 1)
        out += run[whole:]
    return bytes(out)


def cobs_decode(block: bytes) -> bytes | None:
    """What was encoded, or None where the block is no whole encoding."""
    out = bytearray()
    at = 0
    while at < len(block):
        code = block[at]
        if code == 0 or at + code > len(block):
            return None
        out += block[at + 1 : at + code]
        at += code
        if code != 0xFF and at < len(block):
            out.append(0)
    return bytes(out)


def parse_identity(payload: bytes) -> Identity:
    """The reply to HELLO. Its first byte is the protocol in all versions; of another version nothing else is read."""
    if payload and payload[0] != PROTOCOL:
        return Identity(payload[0], "", "", "", "", 0, 0, 0, 0, Counter.NONE, False, False)
    if len(payload) < IDENTITY.size:
        raise WireError(f"an identity of {len(payload)} bytes; {IDENTITY.size} and three texts were needed.")
    protocol, flags, counter, inputs, outputs, layers, arena, sha256 = IDENTITY.unpack_from(payload)
    texts = []
    at = IDENTITY.size
    for _ in range(3):
        length = payload[at] if at < len(payload) else 0
        if at + 1 + length > len(payload):
            raise WireError("an identity whose texts are cut off.")
        texts.append(_text(payload[at + 1 : at + 1 + length]))
        at += 1 + length
    try:
        kind = Counter(counter)
    except ValueError as error:
        raise WireError(f"counter kind {counter}; the known ones are 0 to {max(Counter)}.") from error
    return Identity(
        protocol=protocol,
        model_sha256=sha256.hex(),
        runtime=texts[0],
        board=texts[1],
        model_name=texts[2],
        inputs=inputs,
        outputs=outputs,
        layers=layers,
        arena_bytes=arena,
        counter=kind,
        trace_build=bool(flags & IdentityFlag.TRACE_BUILD),
        ready=bool(flags & IdentityFlag.READY),
    )


def parse_tensor(payload: bytes) -> TensorSpec:
    """The reply to TENSOR. The name may be cut to what fits."""
    if len(payload) < TENSOR.size:
        raise WireError(f"a tensor of {len(payload)} bytes; at least {TENSOR.size} were needed.")
    dtype, rank, size, scale, zero_point = TENSOR.unpack_from(payload)
    if dtype not in DTYPES or rank > MAX_RANK or len(payload) < TENSOR.size + 4 * rank:
        raise WireError(f"a tensor of dtype {dtype} and rank {rank} in {len(payload)} bytes.")
    shape = struct.unpack_from(f"<{rank}I", payload, TENSOR.size)
    spec = TensorSpec(_text(payload[TENSOR.size + 4 * rank :]), shape, DTYPES[dtype], scale, zero_point)
    if spec.elements * np.dtype(spec.dtype).itemsize != size:
        raise WireError(f"tensor {spec.name!r} of shape {shape} {spec.dtype} and {size} bytes.")
    return spec


def c_header() -> str:
    """firmware/frames/wire.h: the numbers above, for the firmware."""
    constants = {
        "PROTOCOL": PROTOCOL, "MAX_PAYLOAD": MAX_PAYLOAD, "MAX_INPUTS": MAX_INPUTS, "MAX_TEXT": MAX_TEXT,
        "HEADER_BYTES": HEADER.size, "CRC_BYTES": CRC.size, "WRITE_BYTES": WRITE.size, "READ_BYTES": READ.size,
        "PROGRESS_BYTES": PROGRESS.size, "IDENTITY_BYTES": IDENTITY.size, "TENSOR_BYTES": TENSOR.size,
        "STATS_BYTES": STATS.size, "REPLY": REPLY, "TRACE": TRACE, "PROFILE": PROFILE,
    }  # fmt: skip
    enums: tuple[tuple[str, str, type[IntEnum]], ...] = (
        ("command", "", Command),
        ("status", "STATUS_", Status),
        ("progress", "", Progress),
        ("reset", "", Reset),
        ("identity_flag", "", IdentityFlag),
    )
    defines = "".join(f"#define TFLASH_WIRE_{name} {value}u\n" for name, value in constants.items())
    types = "".join(
        f"\nenum tflash_wire_{name} {{\n"
        + ",\n".join(f"  TFLASH_WIRE_{prefix}{member.name} = {member.value}" for member in kind)
        + "\n};\n"
        for name, prefix, kind in enums
    )
    return (
        "/* Numbers of the frame protocol, rendered from pipeline/wire.py: change them there. */\n"
        "#ifndef TFLASH_WIRE_H\n#define TFLASH_WIRE_H\n\n"
        f"{defines}{types}\n#endif /* TFLASH_WIRE_H */\n"
    )


def _text(raw: bytes) -> str:
    """Text of a device, safe to show: what is not printable UTF-8 is escaped."""
    text = raw.decode("utf-8", errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
