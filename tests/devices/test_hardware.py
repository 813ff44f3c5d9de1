"""Serial ports: which one, whose, flashed, lost and found. Boards are the toy firmware behind pseudo terminals."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import socket as tcp
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import serial
import serial.rfc2217

from pipeline.board import load
from pipeline.device_tests.suite import OWN_MODEL
from pipeline.devices import hardware, open_device, ports
from pipeline.devices.device import Device
from pipeline.devices.link import FrameLink, Refused
from pipeline.devices.lock import locked
from pipeline.devices.ports import AbsentError, Port
from pipeline.devices.process import ProcessStream, open_pipes
from pipeline.devices.serial_port import SerialStream
from pipeline.errors import DeviceError, ToolError
from pipeline.model import Image
from pipeline.verification import verify_model
from pipeline.wire import Command, Reset
from tests.devices.toy import MODEL, outputs, running, sample

BOARD = load("nucleo_f767zi")
ARDUINO = load("nano_33_ble_sense")
PROBE = BOARD.serial.usb[0]  # type: ignore[union-attr]
IMAGE = Image("verify", Path("none.elf"), "", 0, 0)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")


class Socket:
    """A place to plug a board in: `path` is there while one is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fds: tuple[int, int] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def plug(self, board: ProcessStream, noise: bytes = b"") -> None:
        controller, terminal = pty.openpty()
        tty.setraw(terminal)
        self._fds, self._stop = (controller, terminal), threading.Event()
        self._thread = threading.Thread(target=self._carry, args=(board, controller, self._stop, noise))
        self._thread.start()
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(terminal))

    def unplug(self) -> None:
        if self._thread is None or self._fds is None:
            return
        self.path.unlink(missing_ok=True)
        self._stop.set()
        self._thread.join()
        for fd in self._fds:
            os.close(fd)
        self._thread = None

    @staticmethod
    def _carry(board: ProcessStream, controller: int, stop: threading.Event, noise: bytes) -> None:
        """Both ways; `noise` comes first once somebody has opened the port and said something."""
        os.set_blocking(controller, False)
        while not stop.is_set():
            with contextlib.suppress(BlockingIOError):
                board.write(os.read(controller, 4096))
                os.write(controller, noise)
                noise = b""
            said = board.read(4096, 0.002)
            if said:
                os.write(controller, said)


@pytest.fixture
def socket(tmp_path: Path) -> Iterator[Socket]:
    made = Socket(tmp_path / "ttyACM0")
    yield made
    made.unplug()


def connected(monkeypatch: pytest.MonkeyPatch, *found: Port) -> None:
    monkeypatch.setattr(ports, "listed", lambda: found)


# Which port


def test_a_board_is_found_by_its_usb_id_and_its_serial_number(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Port("/dev/ttyACM0", PROBE, "A"), Port("/dev/ttyACM1", PROBE, "B")
    other = Port("/dev/ttyUSB0", "ffff:0001", "C")
    connected(monkeypatch, first, other)
    assert ports.find(BOARD) == first
    connected(monkeypatch, first, second, other)
    assert ports.find(BOARD, serial_number="B") == second
    assert ports.find(BOARD, port="/dev/ttyACM1") == second


def test_several_ports_are_never_guessed_among(monkeypatch: pytest.MonkeyPatch) -> None:
    connected(monkeypatch, Port("/dev/ttyACM0", PROBE, "A"), Port("/dev/ttyACM1", PROBE, "B"))
    with pytest.raises(DeviceError, match=r"2 ports might be it: /dev/ttyACM0 \(.*serial number A\), /dev/ttyACM1"):
        ports.find(BOARD)


def test_what_is_not_there_is_told_with_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    connected(monkeypatch, Port("/dev/ttyUSB0", "ffff:0001", "C"))
    needed = f"needed a port with USB {PROBE} or 0483:3752, found /dev/ttyUSB0"
    with pytest.raises(AbsentError, match=needed) as absent:
        ports.find(BOARD)
    assert not absent.value.named
    for asked in ({"port": "/dev/none"}, {"serial_number": "A"}):
        with pytest.raises(AbsentError) as absent:
            ports.find(BOARD, **asked)  # type: ignore[arg-type]
        assert absent.value.named


def test_a_port_whose_device_has_another_serial_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    connected(monkeypatch, Port("/dev/ttyACM0", PROBE, "A"))
    with pytest.raises(DeviceError, match="has the serial number A, needed B"):
        ports.find(BOARD, port="/dev/ttyACM0", serial_number="B")


def test_a_board_that_comes_back_under_another_name_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ARDUINO.serial is not None
    before = Port("/dev/ttyACM0", ARDUINO.serial.usb[0], "A")
    boot = Port("/dev/ttyACM1", ARDUINO.serial.bootloader[0], "A")
    after = Port("/dev/ttyACM2", ARDUINO.serial.usb[0], "A")
    stranger = Port("/dev/ttyACM0", ARDUINO.serial.usb[0], "B")
    seen = [(), (boot,), (stranger,), (stranger, after)]
    monkeypatch.setattr(ports, "listed", lambda: seen.pop(0))
    assert ports.await_return(ARDUINO, before, sleep=lambda _s: None) == "/dev/ttyACM2"
    connected(monkeypatch, boot)
    with pytest.raises(DeviceError, match=r"did not come back within 0 s") as error:
        ports.await_return(ARDUINO, boot, timeout_s=0.0)
    assert "press reset" in str(error.value)


def test_of_a_device_with_several_ports_the_one_of_before_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As debug probes have that carry two serial lines."""
    first, second = Port("/dev/ttyACM0", PROBE, "A"), Port("/dev/ttyACM1", PROBE, "A")
    connected(monkeypatch, first, second)
    assert [ports.again(BOARD, port) for port in (first, second)] == [first.url, second.url]
    assert ports.again(BOARD, Port("/dev/ttyACM9", PROBE, "A")) is None
    hardware._require_one_probe(BOARD, second)


# Whose


def test_two_runs_never_share_a_board() -> None:
    with locked("a test's board", name="toy"):
        with pytest.raises(DeviceError, match=rf"toy: another run is using this board \(process {os.getpid()}\)"):
            locked("a test's board", name="toy", wait_s=0.0).__enter__()
        with locked("a test's other board", name="toy"):
            pass
    with locked("a test's board", name="toy"):
        pass


def test_the_lock_of_a_killed_run_is_free() -> None:
    script = (
        "import time; from pipeline.devices.lock import locked\n"
        "with locked(\"a killed run's board\", name='toy'):\n print('held', flush=True); time.sleep(100)"
    )
    held = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert held.stdout is not None and held.stdout.readline() == b"held\n"
    with pytest.raises(DeviceError, match=f"process {held.pid}"):
        locked("a killed run's board", name="toy", wait_s=0.0).__enter__()
    held.kill()
    held.communicate()
    with locked("a killed run's board", name="toy"):
        pass


def test_one_board_has_one_lock_by_whatever_name_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "ttyACM0").touch()
    (tmp_path / "by-id").symlink_to(tmp_path / "ttyACM0")
    assert Port(str(tmp_path / "by-id")).key == Port(str(tmp_path / "ttyACM0")).key
    assert Port("/dev/ttyACM0", PROBE, "A").key == Port("/dev/ttyACM7", PROBE, "A").key
    assert Port("socket://shelf:1").key != Port("socket://shelf:2").key


# The board itself


def test_a_board_behind_a_port_answers_and_is_locked_meanwhile(socket: Socket, tmp_path: Path) -> None:
    board = replace(BOARD, id="native")
    with running() as stream:
        socket.plug(stream, noise=b"\xff\x00boot: rst:0x1 (POWERON)\r\n" * 20)
        with open_device(board, IMAGE, work=tmp_path, port=str(socket.path)) as device:
            device.expect(MODEL, "aot")
            for run in (1, 2):
                assert [a.tobytes() for a in device.infer(sample(run)).outputs] == outputs(sample(run), run)
            with (
                pytest.raises(DeviceError, match="another run is using this board"),
                open_device(board, IMAGE, work=tmp_path, port=str(socket.path)),
            ):
                pass
        socket.unplug()


def test_another_board_or_another_model_on_the_port_is_an_error(socket: Socket, tmp_path: Path) -> None:
    with running() as stream:
        socket.plug(stream)
        with (
            pytest.raises(DeviceError, match="firmware for another board: found 'native'"),
            open_device(BOARD, IMAGE, work=tmp_path, port=str(socket.path)),
        ):
            pass
        with (
            open_device(replace(BOARD, id="native"), IMAGE, work=tmp_path, port=str(socket.path)) as device,
            pytest.raises(DeviceError, match="the device runs another model"),
        ):
            device.expect(replace(MODEL, sha256="00" * 32), "aot")
        socket.unplug()


def test_a_port_that_says_nothing_is_an_error_with_the_last_bytes(socket: Socket) -> None:
    controller, terminal = pty.openpty()
    tty.setraw(terminal)
    port = SerialStream(os.ttyname(terminal))
    os.write(controller, b"Hard fault\r\n")
    try:
        with pytest.raises(DeviceError, match=r"no answer to HELLO .* last bytes were .*\|Hard fault\.\.\|"):
            Device(FrameLink(port, name="toy", timeout_s=0.5))
    finally:
        port.close()
        os.close(controller)
        os.close(terminal)


def test_a_port_that_vanishes_and_comes_back_loses_no_answer(socket: Socket) -> None:
    """The toy counts its runs: a request that was executed twice, or not at all, would show."""
    with running() as stream:
        socket.plug(stream)
        port = SerialStream(str(socket.path))
        device = Device(FrameLink(port, name="toy", first_wait_s=0.1))
        for run in (1, 2, 3):
            assert [a.tobytes() for a in device.infer(sample(run)).outputs] == outputs(sample(run), run)
            socket.unplug()
            back = threading.Timer(0.3, socket.plug, (stream,))
            back.start()
            assert device.stack_bytes() == 777
            back.join()
        socket.unplug()
        port.close()


def test_a_port_that_stays_away_is_an_error(socket: Socket) -> None:
    with running() as stream:
        socket.plug(stream)
        port = SerialStream(str(socket.path), reopen_timeout_s=0.3)
        device = Device(FrameLink(port, name="toy"))
        socket.unplug()
        with pytest.raises(DeviceError, match=r"it did not come back within 0\.3 s"):
            device.stack_bytes()
        port.close()


def test_a_board_that_lost_its_power_is_noticed_before_its_next_answer(socket: Socket) -> None:
    with running() as stream:
        socket.plug(stream)
        port = SerialStream(str(socket.path))
        device = Device(FrameLink(port, name="toy", first_wait_s=0.1))
        device.link.request(Command.RESET, bytes([Reset.RESTART]))
        socket.unplug()
        socket.plug(stream)
        with pytest.raises(Refused, match="NO_SESSION: it has restarted"):
            device.infer(sample(1))
        socket.unplug()
        port.close()


def test_a_port_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "tty").write_bytes(b"")
    for url in (str(tmp_path / "tty"), "socket://127.0.0.1:1", "moon://x", "rfc2217://127.0.0.1:1"):
        with pytest.raises(DeviceError, match="the serial port cannot be opened") as error:
            SerialStream(url)
        assert "dialout" in str(error.value)


# Flashing

BUILDER = """
import pathlib, sys
from SCons.Script import COMMAND_LINE_TARGETS, AlwaysBuild, Default, DefaultEnvironment, Exit
env = DefaultEnvironment()
def flash(*_args, **_kwargs):
    tries = pathlib.Path(env.subst("$PROJECT_DIR")) / "tries"
    count = len(tries.read_text()) + 1 if tries.exists() else 1
    tries.write_text("x" * count)
    print("flashing", env.subst("$UPLOAD_PORT"), "try", count)
    return 1 if count <= FAILURES else 0
AlwaysBuild(env.Alias("upload", None, flash))
"""


def write_flashable(folder: Path, failures: int) -> Path:
    """A project whose `pio run -t upload` fails so many times, on a platform of its own."""
    platform = folder / "platform"
    (platform / "builder").mkdir(parents=True)
    (platform / "boards").mkdir()
    emulated = Path(hardware.__file__).parents[2] / "firmware" / "platform"
    (platform / "platform.json").write_text((emulated / "platform.json").read_text())
    (platform / "platform.py").write_text((emulated / "platform.py").read_text())
    (platform / "builder" / "main.py").write_text(BUILDER.replace("FAILURES", str(failures)))
    facts = {"build": {"mcu": "x"}, "name": "toy", "upload": {}, "url": "x", "vendor": "x"}
    (platform / "boards" / "toy.json").write_text(json.dumps(facts))
    (folder / "src").mkdir()
    (folder / "platformio.ini").write_text(
        f"[platformio]\ncore_dir = {folder}/core\n[env:verify]\nplatform = symlink://{platform}\nboard = toy\n"
    )
    return folder


@pytest.mark.emulated
def test_an_upload_that_keeps_failing_is_an_error_with_its_last_lines(tmp_path: Path) -> None:
    project = write_flashable(tmp_path / "project", failures=9)
    with pytest.raises(ToolError, match=r"(?s)failed 2 times.*flashing /dev/ttyACM9 try 2.*press reset"):
        hardware.upload(project, "verify", "/dev/ttyACM9", tmp_path / "log")


def test_a_probe_is_not_guessed_among_several(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    connected(monkeypatch, Port("/dev/ttyACM0", PROBE, "A"), Port("/dev/ttyACM1", PROBE, "B"))
    monkeypatch.setattr(hardware, "upload", lambda *_: pytest.fail("it was flashed"))
    with (
        pytest.raises(DeviceError, match=r"there are 2 of that kind"),
        open_device(BOARD, IMAGE, work=tmp_path, serial_number="B", project=tmp_path),
    ):
        pass


@pytest.mark.emulated
def test_a_board_is_flashed_then_awaited_then_asked(
    socket: Socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first upload fails; the port goes away while the board is flashed, and comes back a little later."""
    project = write_flashable(tmp_path / "project", failures=1)
    board = replace(BOARD, id="native")
    upload = hardware.upload
    with running() as stream:
        socket.plug(stream)

        def upload_and_leave(*arguments: object) -> None:
            upload(*arguments)  # type: ignore[arg-type]
            socket.unplug()
            threading.Timer(0.5, socket.plug, (stream,)).start()

        monkeypatch.setattr(hardware, "upload", upload_and_leave)
        with open_device(board, IMAGE, work=tmp_path, port=str(socket.path), project=project) as device:
            assert device.infer(sample(1)).outputs[1] == 1
        assert "try 2" in (tmp_path / "native-verify-serial.log").read_text()
        assert not (project / ".pio").exists(), "the user's project is left as it was"
        socket.unplug()


@pytest.mark.golden
@pytest.mark.emulated
def test_a_model_is_proved_on_a_board_at_a_remote_port(tmp_path: Path) -> None:
    """Its firmware cannot be exchanged from here: the trace build shows its layers, the verify build does not."""
    options = {"board": "native", "runtime": "aot", "samples": 6, "seed": 0, "inputs": None, "golden_file": None,
               "transport": "fast", "out": tmp_path / "work", "progress": lambda *_: None}  # fmt: skip
    verify_model(OWN_MODEL, **options)  # type: ignore[arg-type]
    (step,) = (tmp_path / "work").glob("firmware-native-aot-*")
    for build, layers in (("verify", 0), ("trace", 6)):
        with remote(next((step / "images").glob(f"{build}*")), tmp_path) as port:
            found = verify_model(OWN_MODEL, **options, port=port)  # type: ignore[arg-type]
        assert (found["samples"], found["mismatched_samples"], found["layers_compared"]) == (6, 0, layers)


@contextlib.contextmanager
def remote(program: Path, folder: Path) -> Iterator[str]:
    """A board that runs a program, behind socket://, for one connection after another."""
    server = tcp.create_server(("127.0.0.1", 0))
    server.settimeout(0.05)
    stop = threading.Event()
    with (folder / f"{program.name}.log").open("wb") as log:
        board = open_pipes([str(program)], folder, log, name="remote")

        def serve() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = server.accept()
                    with connection:
                        connection.settimeout(0.002)
                        carry(connection)

        def carry(connection: tcp.socket) -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    data = connection.recv(4096)
                    if not data:
                        return
                    board.write(data)
                said = board.read(4096, 0.002)
                if said:
                    connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"socket://127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()
            board.close()
            server.close()


class Terminal(serial.Serial):  # type: ignore[misc]
    """A pseudo terminal as a port with the modem lines that it does not have."""

    cts = dsr = ri = cd = False

    def _update_dtr_state(self) -> None:
        pass

    def _update_rts_state(self) -> None:
        pass


@pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning", "ignore:setName:DeprecationWarning")
def test_a_port_behind_rfc2217_answers(socket: Socket) -> None:
    """pyserial's own server, as on the computer that the board is connected to."""
    server = tcp.create_server(("127.0.0.1", 0))
    with running() as stream:
        socket.plug(stream)

        def serve() -> None:
            connection, _ = server.accept()
            connection.settimeout(0.002)
            with connection, Terminal(str(socket.path), timeout=0) as line:
                peer = SimpleNamespace(write=connection.sendall)
                manager = serial.rfc2217.PortManager(line, peer)
                while True:
                    with contextlib.suppress(TimeoutError):
                        data = connection.recv(4096)
                        if not data:
                            return
                        line.write(b"".join(manager.filter(data)))
                    said = line.read(4096)
                    if said:
                        connection.sendall(b"".join(manager.escape(said)))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = SerialStream(f"rfc2217://127.0.0.1:{server.getsockname()[1]}")
        try:
            device = Device(FrameLink(port, name="toy"))
            assert [a.tobytes() for a in device.infer(sample(1)).outputs] == outputs(sample(1), 1)
        finally:
            port.close()
            thread.join()
            server.close()
            socket.unplug()
