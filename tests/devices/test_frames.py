"""The firmware's side of the protocol, frame by frame, under ASan and UBSan."""

from __future__ import annotations

import random
import struct
import subprocess
import zlib

import pytest

from pipeline import wire
from pipeline.wire import Command, Frame, Progress, Reset, Status
from tests.devices.toy import SIZE, Raw, build, layers, outputs, running, sample

HELLO, RUN, TRACE = Command.HELLO, b"\0", bytes([wire.TRACE])


def read(tensor: int, offset: int, length: int) -> bytes:
    return wire.READ.pack(tensor, offset, length)


def write(tensor: int, offset: int, data: bytes) -> bytes:
    return wire.WRITE.pack(tensor, offset) + data


def test_a_repeated_request_gets_the_same_reply_and_is_executed_once() -> None:
    inputs = sample(1)
    with running() as stream:
        raw = Raw(stream)
        raw.ask(HELLO, 1)
        next_number = raw.write_sample(2, inputs)
        first = raw.ask(Command.INVOKE, next_number, RUN)
        assert [raw.ask(Command.INVOKE, next_number, RUN) for _ in range(5)] == [first] * 5
        reply = raw.ask(Command.READ_OUTPUT, next_number + 1, read(1, 0, 4))
        assert reply.payload == outputs(inputs, 1)[1]


def test_a_number_out_of_order_is_told_the_expected_one_and_not_executed() -> None:
    with running() as stream:
        raw = Raw(stream)
        raw.ask(HELLO, 10)
        hello = raw.ask(HELLO, 10)
        for number in (12, 9, 0, 2**32 - 1):
            reply = raw.ask(Command.RESET, number, bytes([Reset.RESTART]))
            assert (reply.status, reply.sequence) == (Status.OUT_OF_ORDER, number)
            assert struct.unpack("<I", reply.payload) == (11,)
        assert raw.ask(HELLO, 10) == hello, "the last reply must survive"
        assert raw.ask(Command.STATS, 11).status == Status.OK


def test_the_last_number_with_other_content_is_out_of_order() -> None:
    with running() as stream:
        raw = Raw(stream)
        raw.ask(HELLO, 1)
        raw.ask(Command.TENSOR, 2, b"\0\0")
        assert raw.ask(Command.TENSOR, 2, b"\0\1").status == Status.OUT_OF_ORDER


def test_numbers_wrap_around() -> None:
    with running() as stream:
        raw = Raw(stream)
        raw.ask(HELLO, 2**32 - 2)
        assert [raw.ask(Command.STATS, number).status for number in (2**32 - 1, 0, 1)] == [Status.OK] * 3


def test_nothing_but_hello_starts_a_session() -> None:
    with running() as stream:
        raw = Raw(stream)
        for command in (*set(Command) - {HELLO}, 77):
            assert raw.ask(command, 1, b"\1").status == Status.NO_SESSION
        assert raw.ask(HELLO, 1).status == Status.OK


def test_a_delayed_hello_does_not_restart_the_session() -> None:
    inputs = sample(2)
    with running() as stream:
        raw = Raw(stream)
        raw.ask(HELLO, 5)
        number = raw.write_sample(6, inputs)
        assert raw.ask(HELLO, 5).status == Status.OUT_OF_ORDER
        assert raw.ask(Command.INVOKE, number, RUN).status == Status.OK


def test_a_new_session_begins_with_unwritten_inputs_and_no_answer() -> None:
    with running() as stream:
        raw = Raw(stream)
        raw.ask(HELLO, 1)
        number = raw.write_sample(2, sample(3))
        raw.ask(HELLO, number)
        assert raw.ask(Command.INVOKE, number + 1, RUN).status == Status.INCOMPLETE
        number = raw.write_sample(number + 2, sample(3))
        assert raw.ask(Command.INVOKE, number, RUN).status == Status.OK
        raw.ask(HELLO, number + 1)
        assert raw.ask(Command.READ_OUTPUT, number + 2, read(0, 0, 1)).status == Status.WRONG_STATE


BAD_REQUESTS = [
    (Command.HELLO, b"\0", Status.BAD_LENGTH),
    (Command.TENSOR, b"\0", Status.BAD_LENGTH),
    (Command.TENSOR, b"\0\0\0", Status.BAD_LENGTH),
    (Command.TENSOR, b"\0\2", Status.BAD_TENSOR),
    (Command.TENSOR, b"\1\3", Status.BAD_TENSOR),
    (Command.TENSOR, b"\xff\xff", Status.BAD_TENSOR),
    (Command.WRITE_INPUT, b"\0\0\0\0", Status.BAD_LENGTH),
    (Command.WRITE_INPUT, write(2, 0, b"x"), Status.BAD_TENSOR),
    (Command.WRITE_INPUT, write(255, 0, b"x"), Status.BAD_TENSOR),
    (Command.WRITE_INPUT, write(1, 0, b"123456789"), Status.OUT_OF_RANGE),
    (Command.WRITE_INPUT, write(1, 8, b"9"), Status.OUT_OF_RANGE),
    (Command.WRITE_INPUT, write(1, 2**32 - 1, b"x"), Status.OUT_OF_RANGE),
    (Command.WRITE_INPUT, write(0, 2**32 - 100, bytes(200)), Status.OUT_OF_RANGE),
    (Command.WRITE_INPUT, write(1, 4, b"5678"), Status.INCOMPLETE),
    (Command.INVOKE, b"", Status.BAD_LENGTH),
    (Command.INVOKE, RUN, Status.INCOMPLETE),
    (Command.INVOKE, TRACE, Status.NO_TRACE),
    (Command.READ_OUTPUT, b"\0", Status.BAD_LENGTH),
    (Command.READ_OUTPUT, read(0, 0, 1), Status.WRONG_STATE),
    (Command.READ_LAYER, read(0, 0, 1), Status.WRONG_STATE),
    (Command.CONTINUE, b"", Status.WRONG_STATE),
    (Command.CONTINUE, b"\0", Status.BAD_LENGTH),
    (Command.STATS, b"\0", Status.BAD_LENGTH),
    (Command.RESET, b"", Status.BAD_LENGTH),
    (Command.RESET, b"\2", Status.OUT_OF_RANGE),
    (0, b"", Status.UNKNOWN_COMMAND),
    (10, b"x", Status.UNKNOWN_COMMAND),
    (127, bytes(256), Status.UNKNOWN_COMMAND),
]


def test_bad_requests_are_refused_one_by_one_and_leave_the_device_well() -> None:
    inputs = sample(4)
    with running() as stream:
        raw = Raw(stream)
        raw.ask(HELLO, 1)
        for number, (command, payload, status) in enumerate(BAD_REQUESTS, start=2):
            reply = raw.ask(command, number, payload)
            assert (reply.status, reply.payload) == (status, b""), (command, payload)
            assert reply.type == command | wire.REPLY
        number = raw.write_sample(2 + len(BAD_REQUESTS), inputs)
        assert raw.ask(Command.INVOKE, number, RUN).status == Status.OK
        reads = [
            (read(0, 0, 256), Status.OK),
            (read(0, SIZE - 1, 1), Status.OK),
            (read(0, SIZE, 0), Status.OK),
            (read(0, 0, 257), Status.OUT_OF_RANGE),
            (read(0, SIZE, 1), Status.OUT_OF_RANGE),
            (read(0, SIZE - 1, 2), Status.OUT_OF_RANGE),
            (read(0, 2**32 - 1, 2), Status.OUT_OF_RANGE),
            (read(1, 0, 5), Status.OUT_OF_RANGE),
            (read(3, 0, 1), Status.BAD_TENSOR),
        ]
        for after, (payload, status) in enumerate(reads, start=number + 1):
            assert raw.ask(Command.READ_OUTPUT, after, payload).status == status, payload


def test_every_byte_of_an_input_must_be_written_anew_for_each_invoke() -> None:
    signal, gain = (array.tobytes() for array in sample(5))
    with running() as stream:
        raw = Raw(stream)
        raw.ask(HELLO, 0)
        first = raw.write_sample(1, sample(5))
        requests = [
            (Command.INVOKE, RUN, Status.OK),
            (Command.INVOKE, RUN, Status.INCOMPLETE),
            (Command.WRITE_INPUT, write(1, 0, gain), Status.OK),
            (Command.READ_OUTPUT, read(0, 0, 1), Status.WRONG_STATE),
            (Command.WRITE_INPUT, write(0, 0, signal[:250]), Status.OK),
            (Command.WRITE_INPUT, write(0, 251, signal[251:260]), Status.INCOMPLETE),
            (Command.WRITE_INPUT, write(0, 200, signal[200:440]), Status.OK),
            (Command.WRITE_INPUT, write(0, 0, signal[:250]), Status.OK),
            (Command.WRITE_INPUT, write(0, 440, signal[440:599]), Status.OK),
            (Command.INVOKE, RUN, Status.INCOMPLETE),
            (Command.WRITE_INPUT, write(0, 599, signal[599:]), Status.OK),
            (Command.INVOKE, RUN, Status.OK),
            (Command.READ_OUTPUT, read(0, 0, 256), Status.OK),
        ]
        for number, (command, payload, status) in enumerate(requests, start=first):
            reply = raw.ask(command, number, payload)
            assert reply.status == status, (number, command)
        assert reply.payload == outputs(sample(5), 2)[0][:256]


def test_a_paused_trace_shows_each_layer_and_does_nothing_else() -> None:
    inputs = sample(6)
    with running("TFLASH_TRACE") as stream:
        raw = Raw(stream)
        raw.ask(HELLO, 1)
        number = raw.write_sample(2, inputs)
        reply = raw.ask(Command.INVOKE, number, TRACE)
        for index, layer in enumerate(layers(inputs, 1)):
            data = layer.tobytes()
            assert wire.PROGRESS.unpack(reply.payload) == (Progress.PAUSED, index, len(data))
            for payload in (read(0, 0, min(256, len(data))), read(0, len(data) - 3, 3)):
                number += 1
                _, offset, length = wire.READ.unpack(payload)
                shown = raw.ask(Command.READ_LAYER, number, payload)
                assert shown.payload == data[offset : offset + length]
                assert raw.ask(Command.READ_LAYER, number, payload) == shown
            refused = [
                (Command.READ_LAYER, read(0, len(data), 1), Status.OUT_OF_RANGE),
                (Command.INVOKE, RUN, Status.WRONG_STATE),
                (Command.INVOKE, TRACE, Status.WRONG_STATE),
                (Command.WRITE_INPUT, write(0, 0, b"x"), Status.WRONG_STATE),
                (Command.READ_OUTPUT, read(0, 0, 1), Status.WRONG_STATE),
                (Command.RESET, bytes([Reset.FORGET]), Status.WRONG_STATE),
                (Command.STATS, b"", Status.OK),
                (Command.TENSOR, b"\0\0", Status.OK),
            ]
            for command, payload, status in refused:
                number += 1
                assert raw.ask(command, number, payload).status == status
            number += 1
            reply = raw.ask(Command.CONTINUE, number)
            assert raw.ask(Command.CONTINUE, number) == reply
        assert wire.PROGRESS.unpack(reply.payload) == (Progress.DONE, 0, 0)
        assert raw.ask(Command.READ_OUTPUT, number + 1, read(1, 0, 4)).payload == outputs(inputs, 1)[1]


def test_a_hello_abandons_a_paused_trace() -> None:
    inputs = sample(7)
    with running("TFLASH_TRACE") as stream:
        raw = Raw(stream)
        raw.ask(HELLO, 1)
        number = raw.write_sample(2, inputs)
        raw.ask(Command.INVOKE, number, TRACE)
        raw.ask(Command.CONTINUE, number + 1)
        assert raw.ask(HELLO, number + 2).status == Status.OK
        assert raw.ask(Command.CONTINUE, number + 3).status == Status.WRONG_STATE
        assert raw.ask(Command.READ_OUTPUT, number + 4, read(0, 0, 1)).status == Status.WRONG_STATE
        number = raw.write_sample(number + 5, inputs)
        assert raw.ask(Command.INVOKE, number, RUN).status == Status.OK
        assert raw.ask(Command.READ_OUTPUT, number + 1, read(1, 0, 4)).payload == outputs(inputs, 2)[1]


def test_a_paused_trace_ends_with_the_stream() -> None:
    with running("TFLASH_TRACE") as stream:
        raw = Raw(stream)
        raw.ask(HELLO, 1)
        number = raw.write_sample(2, sample(8))
        assert raw.ask(Command.INVOKE, number, TRACE).status == Status.OK


def test_what_is_no_request_is_dropped_without_a_word() -> None:
    body = wire.HEADER.pack(HELLO, 0, 1, 0)
    sound = body + wire.CRC.pack(zlib.crc32(body))
    lie = wire.HEADER.pack(HELLO, 0, 1, 1)
    full = wire.HEADER.pack(HELLO, 0, 1, wire.MAX_PAYLOAD) + bytes(wire.MAX_PAYLOAD)
    dropped = [
        b"",
        wire.cobs_encode(sound[:-1]),
        wire.cobs_encode(sound + b"x"),
        wire.cobs_encode(sound)[:-1],
        wire.cobs_encode(body + wire.CRC.pack(zlib.crc32(body) ^ 1)),
        wire.cobs_encode(lie + wire.CRC.pack(zlib.crc32(lie))),
        wire.cobs_encode(full + wire.CRC.pack(zlib.crc32(full)) + b"x"),
        wire.encode(Frame(HELLO | wire.REPLY, 1))[1:-1],
        b"\1" * 5000,
        b"\xff" * 5000,
        bytes([255, *range(1, 255)]) * 2,
    ]
    with running() as stream:
        raw = Raw(stream)
        for block in dropped:
            stream.write(b"\0" + block + b"\0")
        assert raw.receive(0.2) is None
        for block in dropped:
            stream.write(block)
            assert raw.ask(HELLO, 1).type == HELLO | wire.REPLY


def random_request(chance: random.Random) -> tuple[int, bytes]:
    payload = chance.randbytes(chance.choice((0, 1, 2, 5, 7, 40, 256)))
    if chance.random() < 0.7:
        payload = bytes(chance.choice((0, 0, 0, 1, 2)) for _ in payload[:7]) + payload[7:]
    command = chance.choice(list(Command)[1:])
    if command == Command.RESET:
        payload = bytes([Reset.FORGET])
    if command == Command.CONTINUE:
        payload = b""
    return (chance.randrange(10, 128) if chance.random() < 0.1 else command), payload


def random_requests(chance: random.Random, count: int) -> list[tuple[int, bytes]]:
    """Random requests, with inputs that are complete and an invoke among them: else there is nothing to read."""
    requests: list[tuple[int, bytes]] = []
    while len(requests) < count:
        if chance.random() < 0.1:
            requests += [(Command.WRITE_INPUT, write(0, at, chance.randbytes(200))) for at in (0, 200, 400)]
            requests += [(Command.WRITE_INPUT, write(1, 0, chance.randbytes(8))), (Command.INVOKE, TRACE)]
        requests += [random_request(chance) for _ in range(10)]
    return requests


@pytest.mark.parametrize("build_of", ["verify", "trace"])
def test_the_device_survives_any_bytes(build_of: str) -> None:
    """Random bytes, damaged frames and sound frames with random content; a sanitizer would end the process."""
    chance = random.Random(build_of)
    requests = random_requests(chance, 4000)
    lines = [wire.encode(Frame(HELLO, 0))]
    for number, (command, payload) in enumerate(requests, start=1):
        line = wire.encode(Frame(command, number, payload))
        if chance.random() < 0.05:
            damaged = bytearray(line)
            damaged[chance.randrange(len(line))] ^= 1 << chance.randrange(8)
            lines.append(bytes(damaged))
        if chance.random() < 0.05:
            lines.append(chance.randbytes(chance.randrange(600)))
        lines.append(line)
    lines.append(wire.encode(Frame(HELLO, len(requests) + 1)))
    elf = build("TFLASH_TRACE") if build_of == "trace" else build()
    done = subprocess.run([elf], input=b"".join(lines), capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    replies = [wire.decode(block) for block in done.stdout.split(b"\0") if block]
    seen = {(reply.type & 0x7F, reply.status) for reply in replies if reply is not None}
    assert None not in replies
    assert {status for _, status in seen} >= {0, 1, 2, 3, 4, 5, 6}, "what the fuzzing is for"
    assert (Command.READ_LAYER, Status.OK) in seen or build_of == "verify"
    last = replies[-1]
    assert last is not None and (last.type, last.sequence) == (HELLO | wire.REPLY, len(requests) + 1)


def test_a_model_with_too_many_inputs_is_refused_at_once() -> None:
    with running("TOY_INPUTS=17") as stream:
        assert Raw(stream).ask(HELLO, 1).status == Status.UNSUPPORTED
