"""Devices: what they say they are, their answers, and how they begin and end."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import wire
from pipeline.board import Board, Emulator, Toolchain
from pipeline.devices import open_device
from pipeline.devices.device import Device, instructions
from pipeline.devices.link import FrameLink, Refused
from pipeline.devices.serial_port import SerialStream
from pipeline.errors import DeviceError, RequestError, ToolError
from pipeline.model import Image
from pipeline.wire import Command, Counter, Frame
from tests.devices.test_link import Script
from tests.devices.toy import LAYERS, MODEL, SHA256, build, device, layers, outputs, running, sample

NATIVE = Board(
    id="native",
    title="This computer",
    core="host",
    features=frozenset(),
    clock_hz=None,
    flash_bytes=None,
    ram_bytes=None,
    port="host",
    source="none",
)
CROSS = Toolchain("none-", (), ())
EMULATOR = Emulator("qemu-system-none", "machine", ("-cpu", "some"), tick_ns=40, icount_shift=7, call_offset=1)


def image(*defines: str) -> Image:
    return Image("verify", build(*defines), "", 0, 0)


def hello_reply(payload: bytes) -> Script:
    return Script(wire.encode(Frame(Command.HELLO | wire.REPLY, 1, payload)))


def test_a_device_says_what_it_is() -> None:
    with device("TFLASH_TRACE") as toy:
        assert toy.identity == wire.Identity(
            protocol=1, model_sha256=SHA256, model_name="toy", runtime="aot", board="native", inputs=2, outputs=3,
            layers=3, arena_bytes=4096, counter=Counter.CYCLES, trace_build=True, ready=True,
        )  # fmt: skip
        assert toy.inputs == MODEL.inputs
        assert toy.outputs[:2] == MODEL.outputs[:2]
        assert toy.outputs[2].name.startswith("a name that is longer") and len(toy.outputs[2].name) == 210
        assert (toy.stack_bytes(), toy.arena_used_bytes(), toy.count_unit) == (777, 1234, "cycles")
        toy.expect(MODEL, "aot")
    with device() as toy:
        assert not toy.identity.trace_build


def test_answers_come_in_the_models_shapes_with_the_counters_difference() -> None:
    with device() as toy:
        for run in (1, 2, 3):
            inputs = sample(run)
            answer = toy.infer(inputs)
            assert [array.tobytes() for array in answer.outputs] == outputs(inputs, run)
            assert [array.shape for array in answer.outputs] == [(1, 600), (), (1,)]
            assert [array.dtype for array in answer.outputs] == [np.int8, np.int32, np.bool_]
            assert (answer.count, answer.layers) == (42, None), "also where the 32 bits of the counter wrap"


def test_a_trace_gives_every_layer_in_its_shape_and_counts_nothing() -> None:
    inputs = sample(9)
    with device("TFLASH_TRACE") as toy:
        answer = toy.trace(inputs, LAYERS)
        assert answer.layers is not None and answer.count is None
        for found, expected in zip(answer.layers, layers(inputs, 1), strict=True):
            assert found.dtype == expected.dtype and np.array_equal(found, expected)
        assert [array.tobytes() for array in answer.outputs] == outputs(inputs, 1)
        assert toy.infer(inputs).outputs[1] == 2


def test_a_profile_counts_from_layer_to_layer_and_disturbs_nothing() -> None:
    with device("TFLASH_TRACE") as toy:
        for run in (1, 2):
            assert toy.profile(sample(run), LAYERS) == (42, 42, 42)
        assert toy.infer(sample(3)).outputs[1] == 3
        shown = toy.trace(sample(4), LAYERS).layers
        assert shown is not None and np.array_equal(shown[0], layers(sample(4), 4)[0])


def test_a_profile_needs_a_counter_and_the_layers_of_the_firmware() -> None:
    with device("TFLASH_TRACE", "TOY_COUNTER=TFLASH_COUNTER_NONE") as toy, pytest.raises(DeviceError, match="counts"):
        toy.profile(sample(1), LAYERS)
    with device("TFLASH_TRACE") as toy, pytest.raises(DeviceError, match="shows layer 2, needed the end"):
        toy.profile(sample(1), LAYERS[:2])
    with device("TFLASH_TRACE") as toy, pytest.raises(DeviceError, match="shows 3 layers, needed 4"):
        toy.profile(sample(1), (*LAYERS, LAYERS[0]))


def test_a_build_without_trace_refuses_to_trace() -> None:
    with device() as toy, pytest.raises(Refused, match=r"NO_TRACE: this build has no trace") as error:
        toy.trace(sample(1), LAYERS)
    assert "environment `trace`" in str(error.value)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (LAYERS[:2], "shows layer 2 of 4 bytes, needed the end"),
        ((LAYERS[0], replace(LAYERS[1], bytes=10), LAYERS[2]), "shows layer 1 of 600 bytes, needed layer 1 of 10"),
        ((*LAYERS, LAYERS[0]), "shows 3 layers, needed 4"),
    ],
)
def test_other_layers_than_expected_are_an_error(expected: tuple[object, ...], message: str) -> None:
    with device("TFLASH_TRACE") as toy, pytest.raises(DeviceError, match=message):
        toy.trace(sample(1), expected)  # type: ignore[arg-type]


def test_a_reset_forgets_the_state() -> None:
    with device() as toy:
        assert [int(toy.infer(sample(n)).outputs[1]) for n in (1, 2)] == [1, 2]
        toy.reset()
        assert toy.infer(sample(3)).outputs[1] == 1


def test_a_restart_is_a_restart() -> None:
    with device() as toy:
        toy.infer(sample(1))
        toy.restart()
        assert toy.infer(sample(2)).outputs[1] == 1


def test_a_restart_whose_reply_is_lost_is_done_once() -> None:
    with running() as stream:
        link = FrameLink(stream, name="toy", first_wait_s=0.05)
        toy = Device(link)
        read, lost = stream.read, []

        def losing(most: int, timeout_s: float) -> bytes:
            data = read(most, timeout_s)
            if data and not lost:
                lost.append(data)
                return b""
            return data

        stream.read = losing  # type: ignore[method-assign]
        toy.restart()
        assert lost and toy.infer(sample(2)).outputs[1] == 1


def test_a_device_that_restarts_by_itself_is_noticed_before_its_next_answer() -> None:
    with running() as stream:
        toy = Device(FrameLink(stream, name="toy"))
        toy.link.request(Command.RESET, bytes([wire.Reset.RESTART]))
        with pytest.raises(Refused, match="NO_SESSION: it has restarted since the session began"):
            toy.infer(sample(1))


def test_another_model_is_an_error_before_the_first_comparison() -> None:
    with device("TOY_SHA256_BYTE=0xac") as toy:
        with pytest.raises(DeviceError) as error:
            toy.expect(MODEL, "aot")
        assert error.value.message == (
            f"toy: the device runs another model: found toy (sha256 ac{SHA256[2:]}), needed toy (sha256 {SHA256})."
        )


@pytest.mark.parametrize(
    ("model", "runtime", "message"),
    [
        (MODEL, "tflm", "in the runtime 'aot', needed 'tflm'"),
        (replace(MODEL, inputs=MODEL.inputs[:1]), "aot", "the device has 2 inputs, needed 1"),
        (
            replace(MODEL, inputs=(replace(MODEL.inputs[0], zero_point=-4), MODEL.inputs[1])),
            "aot",
            r"input 0 \('signal'\) is int8 \[1, 30, 20\], scale 0.5, zero point -3 on the device, needed .* -4",
        ),
        (
            replace(MODEL, outputs=(replace(MODEL.outputs[0], shape=(600,)), *MODEL.outputs[1:])),
            "aot",
            r"output 0 \('amplified'\) is int8 \[1, 600\]",
        ),
    ],
)
def test_what_is_not_as_expected_is_said(model: object, runtime: str, message: str) -> None:
    with device() as toy, pytest.raises(DeviceError, match=message):
        toy.expect(model, runtime)  # type: ignore[arg-type]


def test_a_model_that_cannot_be_made_ready_is_said() -> None:
    with device("TOY_INIT=TFLASH_ERROR_INIT") as toy:
        with pytest.raises(DeviceError, match="could not be made ready"):
            toy.expect(MODEL, "aot")
        with pytest.raises(Refused, match="INIT_FAILED"):
            toy.infer(sample(1))
        with pytest.raises(Refused, match="INIT_FAILED"):
            toy.reset()
        assert toy.arena_used_bytes() == 0


def test_an_inference_that_fails_on_the_device_is_an_error() -> None:
    with device("TOY_INVOKE=TFLASH_ERROR_INVOKE") as toy, pytest.raises(Refused, match="INVOKE_FAILED"):
        toy.infer(sample(1))


def test_another_protocol_is_an_error() -> None:
    with pytest.raises(DeviceError, match=r"speaks frame protocol 2, needed 1"):
        Device(FrameLink(hello_reply(b"\2whatever"), first_sequence=0))


@pytest.mark.parametrize("payload", [b"", b"\1", b"\1" + bytes(50)[:40], b"\1" + bytes(42) + b"\5ab"])
def test_a_hello_that_makes_no_sense_is_an_error(payload: bytes) -> None:
    with pytest.raises(DeviceError, match="HELLO was answered with an identity"):
        Device(FrameLink(hello_reply(payload), first_sequence=0))


def test_arrays_that_are_not_the_models_inputs_are_refused() -> None:
    signal, gain = sample(1)
    with device() as toy:
        for wrong in ([signal], [signal, gain.astype(np.int64)], [signal.reshape(-1), gain]):
            with pytest.raises(ValueError, match=r"arrays for 2 model inputs|input [01] is"):
                toy.infer(wrong)


def test_ticks_become_instructions_by_the_boards_figures() -> None:
    assert instructions(32, EMULATOR) == 9
    assert [instructions(ticks, EMULATOR) for ticks in (3, 1_000_003)] == [0, 312_500]
    with running("TOY_COUNTER=TFLASH_COUNTER_TICKS") as stream:
        toy = Device(FrameLink(stream), emulator=EMULATOR)
        assert (toy.infer(sample(1)).count, toy.count_unit) == (round(42 * 40 / 128) - 1, "instructions")
        toy = Device(FrameLink(stream))
        assert (toy.infer(sample(1)).count, toy.count_unit) == (None, None)
    with device("TOY_COUNTER=TFLASH_COUNTER_NONE") as toy:
        assert (toy.infer(sample(1)).count, toy.count_unit) == (None, None)


def test_the_host_is_a_device_that_leaves_nothing_behind(tmp_path: Path) -> None:
    with open_device(NATIVE, image(), work=tmp_path) as toy:
        assert toy.infer(sample(1)).outputs[1] == 1
        stream = toy.link.stream
        stream._grace_s = 60.0  # type: ignore[attr-defined]  # this machine may be slow, and the sanitizers look for leaks
    assert stream._process.returncode == 0  # type: ignore[attr-defined]
    assert (tmp_path / "native-verify-fast.log").read_text() == f"$ {build()}\n"


def test_an_exception_ends_the_device(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_device(NATIVE, image(), work=tmp_path) as toy:
        stream = toy.link.stream
        raise KeyboardInterrupt
    assert stream._process.returncode is not None  # type: ignore[attr-defined]


def test_a_process_that_dies_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with (
        pytest.raises(
            DeviceError, match=r"native: the process ended with exit code 3:\n    the arena is too small"
        ) as error,
        open_device(NATIVE, image('TOY_LAST_WORDS="the arena is too small"'), work=tmp_path),
    ):
        pass
    assert str(tmp_path / "native-verify-fast.log") in str(error.value)


def test_a_device_that_is_killed_is_an_error(tmp_path: Path) -> None:
    with open_device(NATIVE, image(), work=tmp_path) as toy:
        toy.link.stream._process.kill()  # type: ignore[attr-defined]
        with pytest.raises(DeviceError, match="was killed by signal 9"):
            toy.infer(sample(1))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_device_does_not_outlive_a_host_that_is_killed(tmp_path: Path) -> None:
    """A firmware that never reads could not notice that its stream has ended."""
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\necho $$ > pid\nwhile :; do sleep 0.1; done\n")
    sleeper.chmod(0o755)
    script = (
        "import sys, pathlib, time; from pipeline.devices.process import open_pipes\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "open_pipes([str(folder / 'sleeper')], folder, (folder / 'log').open('wb'), name='sleeper'); time.sleep(100)"
    )
    host = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    pid = tmp_path / "pid"
    _until(lambda: pid.exists() and pid.read_text().endswith("\n"))
    host.kill()
    host.wait()
    _until(lambda: not _is_running(int(pid.read_text())))


def test_a_board_for_another_board_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(DeviceError, match="firmware for another board: found 'moon'"),
        open_device(NATIVE, image('TOY_BOARD="moon"'), work=tmp_path),
    ):
        pass


def test_a_missing_emulator_is_an_error_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = replace(NATIVE, id="board", toolchain=CROSS, emulator=replace(EMULATOR, program="qemu-system-arm"))
    toy = image()
    monkeypatch.setenv("PATH", str(tmp_path))
    for transport in ("fast", "uart"):
        with (
            pytest.raises(ToolError, match="qemu-system-arm is not installed") as error,
            open_device(board, toy, work=tmp_path, transport=transport),
        ):
            pass
        assert "qemu-system-arm" in str(error.value.hint)


@pytest.mark.parametrize("transport", ["fast", "uart"])
def test_an_emulator_that_does_not_start_is_an_error_with_its_words(tmp_path: Path, transport: str) -> None:
    program = tmp_path / "emulator"
    program.write_text("#!/bin/sh\necho no machine $2 >&2\nexit 1\n")
    program.chmod(0o755)
    board = replace(NATIVE, id="board", toolchain=CROSS, emulator=replace(EMULATOR, program=str(program)))
    with (
        pytest.raises(DeviceError, match=r"(?s)board: the .*no machine machine"),
        open_device(board, image(), work=tmp_path, transport=transport),
    ):
        pass


def test_firmware_that_is_gone_is_an_error(tmp_path: Path) -> None:
    gone = replace(image(), elf=tmp_path / "gone.elf")
    with pytest.raises(ToolError, match=r"gone\.elf is gone, or cannot be executed"):
        open_device(NATIVE, gone, work=tmp_path).__enter__()


def test_requests_that_cannot_be_met_are_refused(tmp_path: Path) -> None:
    real = replace(NATIVE, id="real", toolchain=CROSS)
    for board, transport, message in (
        (NATIVE, "pigeon", "there is no transport 'pigeon'; there are fast and uart"),
        (NATIVE, "uart", "native has no UART"),
        (real, "fast", "real is neither this computer nor an emulated board"),
    ):
        with (
            pytest.raises(RequestError, match=message),
            open_device(board, image(), work=tmp_path, transport=transport),
        ):
            pass


def test_a_serial_url_is_a_device() -> None:
    """pyserial's socket:// stands for a port that is at the other end of a network."""
    server = socket.create_server(("127.0.0.1", 0))
    with running() as stream:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(4096):
                    stream.write(data)
                    while reply := stream.read(4096, 0.05):
                        connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        port = SerialStream(f"socket://127.0.0.1:{server.getsockname()[1]}")
        try:
            assert Device(FrameLink(port)).infer(sample(1)).outputs[1] == 1
        finally:
            port.close()
            thread.join()
            server.close()


def test_a_serial_port_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="the serial port cannot be opened") as error:
        SerialStream(str(tmp_path / "ttyNONE"))
    assert "dialout" in str(error.value)


def _is_running(pid: int) -> bool:
    try:
        return not Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].startswith(" Z")
    except FileNotFoundError:
        return False


def _until(condition: object) -> None:
    for _ in range(1000):
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.02)
    pytest.fail("it did not happen")
