"""What every board has to do: say what it is, answer right, keep its limits, and survive bad lines and resets."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest

from pipeline import wire
from pipeline.devices import Device, FrameLink
from pipeline.devices.link import Refused
from pipeline.wire import Command, Status

from .bench import Bench
from .faults import FAULTS, FaultyStream

Record = Callable[[str, object], None]


def test_the_device_says_what_it_is_also_after_a_restart(bench: Bench, record_property: Record) -> None:
    with bench.open() as device:
        identity = device.identity
        device.restart()
        assert device.identity == identity
        device.expect(bench.export.model, bench.export.runtime)
        counter = device.count_unit
    assert identity.ready and identity.layers == len(bench.export.layers)
    assert identity.arena_bytes == bench.export.arena_bytes
    record_property("identity", {**dataclasses.asdict(identity), "counter": counter})
    record_property("port", bench.place.port or bench.place.transport)
    record_property("images", {name: image.sha256 for name, image in bench.images.items()})
    record_property("model", {"path": str(bench.export.model.path), "sha256": bench.export.model.sha256})
    record_property("golden", bench.truth.source)


def test_every_answer_is_the_golden_one(bench: Bench, record_property: Record, pytestconfig: pytest.Config) -> None:
    samples = min(pytestconfig.getoption("samples"), bench.samples)
    with bench.open() as device:
        answers = [bench.infer(device, index) for index in range(samples)]
    bench.require_right(answers, record_property)


def test_every_layer_is_the_golden_one(bench: Bench, record_property: Record) -> None:
    if not bench.is_flashable:
        pytest.skip("what runs at a remote port cannot be exchanged for the trace build")
    samples = min(bench.truth.layer_samples, bench.samples)
    with bench.open("trace", count=False) as device:
        device.reset()
        answers = [device.trace(bench.truth.vectors.sample(index), bench.export.layers) for index in range(samples)]
    bench.require_right(answers, record_property)
    for index, answer in enumerate(answers):
        assert answer.layers is not None
        for layer, found in zip(bench.export.layers, answer.layers, strict=True):
            expected = bench.truth.layers[layer.tensor_index][index]
            assert found.tobytes() == expected.tobytes(), (
                f"sample {index}: op {layer.op_index} ({layer.op}), {layer.tensor} differs"
            )


def test_a_long_soak_changes_nothing(bench: Bench, record_property: Record, pytestconfig: pytest.Config) -> None:
    soak = min(pytestconfig.getoption("soak"), bench.samples)
    with bench.open() as device:
        answers = [bench.infer(device, 0)]
        stack = device.stack_bytes()
        answers += [bench.infer(device, index) for index in range(1, soak)]
        again = bench.infer(device, 0)
        deepest = device.stack_bytes()
    bench.require_right(answers, record_property)
    assert bench.is_right(0, again), "the first sample is answered otherwise at the end"
    record_property("stack_bytes", [stack, deepest])
    limit = bench.place.board.stack_bytes
    assert bench.place.board.is_host or deepest <= limit, f"{deepest} bytes of stack, {limit} are reserved"


def test_the_limits_are_kept(bench: Bench, record_property: Record, pytestconfig: pytest.Config) -> None:
    board, image = bench.place.board, bench.images["release"]
    with bench.open() as device:
        answer = bench.infer(device, 0)
        stack, arena, unit = device.stack_bytes(), device.arena_used_bytes(), device.count_unit
    record_property("limits", {
        "flash_bytes": image.flash_bytes, "ram_bytes": image.ram_bytes, "stack_bytes": stack,
        "arena_used_bytes": arena, "count": answer.count, "count_unit": unit,
    })  # fmt: skip
    assert arena <= bench.export.arena_bytes
    if not board.is_host:
        assert stack <= board.stack_bytes, "more stack than is reserved"
        assert board.flash_bytes is None or image.flash_bytes <= board.flash_bytes
        assert board.ram_bytes is None or image.ram_bytes + board.stack_bytes <= board.ram_bytes
    budget = pytestconfig.getoption("count_budget")
    if budget is not None:
        assert answer.count is not None, "this board counts nothing, so --count-budget cannot be proved"
        assert answer.count <= budget, f"{answer.count} {unit} an inference, the budget is {budget}"


def test_bad_requests_are_refused_and_harmless(bench: Bench) -> None:
    size = bench.export.model.inputs[0].bytes
    beyond = len(bench.export.model.inputs)
    with bench.open() as device:
        for command, payload, status in (
            (Command.TENSOR, b"\0", Status.BAD_LENGTH),
            (Command.TENSOR, bytes([0, beyond]), Status.BAD_TENSOR),
            (Command.WRITE_INPUT, wire.WRITE.pack(beyond, 0) + b"x", Status.BAD_TENSOR),
            (Command.WRITE_INPUT, wire.WRITE.pack(0, size) + b"x", Status.OUT_OF_RANGE),
            (Command.WRITE_INPUT, wire.WRITE.pack(0, 2**32 - 1) + b"xy", Status.OUT_OF_RANGE),
            (Command.INVOKE, b"\0", Status.INCOMPLETE),
            (Command.READ_OUTPUT, wire.READ.pack(0, 0, 1), Status.WRONG_STATE),
            (Command.CONTINUE, b"", Status.WRONG_STATE),
        ):
            with pytest.raises(Refused) as refusal:
                device.link.request(command, payload)
            assert refusal.value.status == status, str(refusal.value)
        answer = bench.infer(device, 0)
        with pytest.raises(Refused) as refusal:
            device.link.request(Command.READ_OUTPUT, wire.READ.pack(0, 2**32 - 1, 1))
        assert refusal.value.status == Status.OUT_OF_RANGE
        again = bench.infer(device, 0)
    assert bench.is_right(0, answer) and bench.is_right(0, again)


def test_garbage_between_frames_is_harmless(bench: Bench, pytestconfig: pytest.Config) -> None:
    chance = random.Random(pytestconfig.getoption("seed"))
    good = wire.encode(wire.Frame(Command.INVOKE, 1, b"\0"))
    garbage = [
        bytes(600),
        b"\xff" * 600,
        b"\n\r\nmake: *** [all] Error 1\n" * 20,
        good[:-3],
        good[1:-1] + good[1:-1],
        *(chance.randbytes(chance.randrange(1, 700)) for _ in range(20)),
    ]
    with bench.open() as device:
        for index, piece in enumerate(garbage):
            device.link.stream.write(piece)
            index %= bench.samples
            assert bench.is_right(index, bench.infer(device, index)), piece.hex()


def test_a_restart_in_the_middle_of_a_sample_forgets_it(bench: Bench) -> None:
    with bench.open() as device:
        for _ in range(3):
            data = bench.truth.vectors.sample(1 % bench.samples)[0].tobytes()[:16]
            device.link.request(Command.WRITE_INPUT, wire.WRITE.pack(0, 0) + data)
            device.restart()
            with pytest.raises(Refused) as refusal:
                device.link.request(Command.INVOKE, b"\0")
            assert refusal.value.status == Status.INCOMPLETE
            assert bench.is_right(0, bench.infer(device, 0))


@pytest.mark.parametrize("under_way", [0, 1, 20], ids=["idle", "in_a_first_byte", "in_mid_frame"])
def test_a_device_that_restarts_unasked_is_noticed_and_then_right(bench: Bench, under_way: int) -> None:
    """As after a loss of power: no answer is taken from it before it has been identified again."""
    data = bench.truth.vectors.sample(0)[0].tobytes()[:16]
    request = wire.encode(wire.Frame(Command.WRITE_INPUT, 1, wire.WRITE.pack(0, 0) + data))
    with bench.open() as device:
        device.link.request(Command.RESET, bytes([wire.Reset.RESTART]))
        device.link.stream.write(request[:under_way])
        with pytest.raises(Refused) as refusal:
            bench.infer(device, 0)
        assert refusal.value.status == Status.NO_SESSION
        same = Device(device.link)
        assert same.identity == device.identity
        assert bench.is_right(0, bench.infer(same, 0))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_line_gives_right_answers(
    bench: Bench, fault: str, record_property: Record, pytestconfig: pytest.Config
) -> None:
    """At least ten answers and three faults. No tolerance: what comes late or damaged is asked for again."""
    with bench.open() as good:
        line = FaultyStream(good.link.stream, fault, pytestconfig.getoption("seed"))
        device = Device(FrameLink(line, name=f"{good.name} ({fault})", timeout_s=60.0), invoke_timeout_s=120.0)
        asked = 0
        while asked < 10 or (line.injected < 3 and asked < 5000):
            index = asked % bench.samples
            assert bench.is_right(index, bench.infer(device, index)), f"sample {index}"
            asked += 1
    record_property("answers", asked)
    record_property("faults", line.injected)
    assert line.injected >= 3
