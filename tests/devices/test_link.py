"""The host's side of the protocol, over lines that do what bad lines do."""

from __future__ import annotations

import pytest

from pipeline import wire
from pipeline.devices.device import Device
from pipeline.devices.link import FrameLink, Refused
from pipeline.errors import DeviceError
from pipeline.wire import Command, Frame, Status
from tests.conftest import FULL
from tests.devices.toy import LAYERS, FaultyLine, layers, outputs, running, sample

FAULTS = ["flip", "drop", "double", "noise", "lose", "repeat", "late", "stall", "crumbs", "all"]
SEEDS = range(20 if FULL else 3)


class Script:
    """A stream that says what it was told to, whatever it is sent."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts)
        self.sent: list[bytes] = []
        self.closed = False

    def read(self, most: int, timeout_s: float) -> bytes:
        return self.parts.pop(0) if self.parts else b""

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.closed = True


def link(stream: Script | FaultyLine, timeout_s: float = 0.05) -> FrameLink:
    return FrameLink(stream, name="toy", first_wait_s=0.01, timeout_s=timeout_s, first_sequence=100)


def answer(sequence: int, payload: bytes = b"", command: int = Command.STATS, status: int = Status.OK) -> bytes:
    return wire.encode(Frame(command | wire.REPLY, sequence, payload, status))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_line_gives_right_answers_and_no_request_is_executed_twice(fault: str, seed: int) -> None:
    """The toy model counts its runs, and each output depends on the count."""
    with running("TFLASH_TRACE") as stream:
        line = FaultyLine(stream, fault, seed)
        device = Device(FrameLink(line, name="toy", first_wait_s=0.02, timeout_s=30.0), invoke_timeout_s=30.0)
        for run in range(1, 7):
            inputs = sample(1000 * seed + run)
            shown = device.trace(inputs, LAYERS) if run % 3 == 0 else device.infer(inputs)
            assert [array.tobytes() for array in shown.outputs] == outputs(inputs, run)
            if shown.layers is not None:
                assert [a.tobytes() for a in shown.layers] == [a.tobytes() for a in layers(inputs, run)]
        assert line.injected > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_line_that_loses_everything_in_the_middle_is_an_error_and_no_answer(seed: int) -> None:
    with running() as stream:
        line = FaultyLine(stream, "none", seed)
        device = Device(link(line, timeout_s=20.0))
        device.infer(sample(1))
        device.link._timeout_s = 0.1
        line.spoil = lambda data: b""  # type: ignore[method-assign]
        with pytest.raises(DeviceError, match="toy: no answer to WRITE_INPUT after"):
            device.infer(sample(2))


def test_boot_noise_is_harmless() -> None:
    with running("TOY_BOOT_NOISE") as stream:
        device = Device(FrameLink(stream, name="toy"))
        assert device.infer(sample(1)).outputs[1] == 1


def test_an_earlier_hosts_session_is_taken_over() -> None:
    with running() as stream:
        first = Device(FrameLink(stream, first_sequence=7))
        first.infer(sample(1))
        second = Device(FrameLink(stream, first_sequence=3))
        assert second.infer(sample(2)).outputs[1] == 2
        with pytest.raises(
            Refused, match=r"WRITE_INPUT was refused with OUT_OF_ORDER: another host talks to it too"
        ) as error:
            first.infer(sample(3))
        assert "close what else uses this device" in str(error.value)


def test_silence_is_an_error_that_says_how_long_and_what_came() -> None:
    with pytest.raises(
        DeviceError, match=r"toy: no answer to STATS after 3 attempts in 0\.05 s; nothing was received"
    ) as error:
        link(Script()).request(Command.STATS)
    assert "`verify` or `trace`" in str(error.value)


def test_an_error_shows_the_last_bytes() -> None:
    script = Script(b"x" * 100, b"no frames\r\n")
    with pytest.raises(DeviceError, match=r"the last bytes were (78 ){53}6e 6f 20 .* \|x{53}no frames\.\.\|\."):
        link(script).request(Command.STATS)


def test_a_device_that_babbles_is_silent_in_the_end() -> None:
    class Babble(Script):
        def read(self, most: int, timeout_s: float) -> bytes:
            return b"\1\2\3\0" * 100

    with pytest.raises(DeviceError, match="no answer to STATS"):
        link(Babble()).request(Command.STATS)


def test_replies_to_other_requests_are_passed_over() -> None:
    stale = answer(100) + answer(102) + answer(101, command=Command.HELLO) + wire.encode(Frame(Command.STATS, 101))
    script = Script(stale, answer(101, b"mine")[:-3], b"", answer(101, b"mine"))
    assert link(script).request(Command.STATS) == b"mine"
    assert len(script.sent) < 3 and len(set(script.sent)) == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (Status.NO_SESSION, "STATS was refused with NO_SESSION: it has restarted since the session began"),
        (Status.INVOKE_FAILED, "STATS was refused with INVOKE_FAILED: the model could not be run"),
        (Status.BAD_LENGTH, "STATS was refused with BAD_LENGTH."),
        (99, "STATS was refused with status 99."),
    ],
)
def test_a_refusal_is_an_error_with_its_reason(status: int, message: str) -> None:
    with pytest.raises(Refused) as error:
        link(Script(answer(101, status=status))).request(Command.STATS)
    assert message in str(error.value) and error.value.status == status


def test_a_device_that_never_agrees_on_a_number_is_given_up() -> None:
    class Contrary(Script):
        def write(self, data: bytes) -> None:
            frame = wire.decode(data[1:-1])
            assert frame is not None
            super().write(data)
            self.parts.append(answer(frame.sequence, b"\0\0\0\0", frame.type, Status.OUT_OF_ORDER))

    script = Contrary()
    with pytest.raises(Refused, match="HELLO was refused with OUT_OF_ORDER"):
        link(script).hello()
    assert len(script.sent) == 4


def test_closing_the_link_closes_the_stream() -> None:
    script = Script()
    link(script).close()
    assert script.closed
