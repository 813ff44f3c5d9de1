"""Boards in a lab: a real labgrid coordinator and exporter on loopback, in front of an emulated board's UART.

scripts/setup installs labgrid into an environment of its own.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from pipeline import board
from pipeline.cli import main
from pipeline.device_tests.suite import OWN_MODEL
from pipeline.devices import lab
from pipeline.devices.emulator import command
from pipeline.devices.process import start
from pipeline.errors import DeviceError, RequestError, ToolError

BOARD = board.load("qemu_cortex_m4")
PATHS = os.pathsep.join([str(Path(sys.prefix) / "labgrid/bin"), os.environ.get("PATH", "")])
CLIENT = shutil.which("labgrid-client", path=PATHS)
START_TIMEOUT_S = 60.0

needs_labgrid = pytest.mark.skipif(CLIENT is None, reason="not installed: labgrid (scripts/setup)")


class Lab:
    """A coordinator, an exporter, and the place "desk" with an emulated board, which has no firmware yet."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.flashed: list[str] = []
        self._stack = stack
        self._uart, coordinator = free_ports(2)
        self._environment = {"PATH": PATHS, "LG_COORDINATOR": f"127.0.0.1:{coordinator}"}
        for name in ("coordinator", "exporter", "board"):
            (folder / name).mkdir()
        address = f"host: 127.0.0.1\n    port: {self._uart}\n    protocol: raw\n"
        (folder / "exporter/resources.yaml").write_text(f"shelf:\n  NetworkSerialPort:\n    {address}")
        self._run("coordinator", ["labgrid-coordinator", "-l", f"127.0.0.1:{coordinator}"])
        wait_for(lambda: self.client("places").returncode == 0)
        self._run("exporter", ["labgrid-exporter", "-n", "rack", "--hostname", "127.0.0.1", "resources.yaml"])
        wait_for(lambda: "NetworkSerialPort" in self.client("resources").stdout)
        for words in (["create"], ["add-match", "rack/shelf/NetworkSerialPort"]):
            assert self.client("-p", "desk", *words).returncode == 0
        self._flasher = self._flash_server()

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in self._environment.items():
            monkeypatch.setenv(name, value)

    def client(self, *words: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
        who = {} if user is None else {"LG_USERNAME": user}
        return subprocess.run(
            [str(CLIENT), *words],
            env={**os.environ, **self._environment, **who},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def verify(self) -> list[str]:
        """The command that proves the suite's model on its board, whose firmware it builds once."""
        return ["verify", str(OWN_MODEL), "--board", BOARD.id, "--out", str(self.folder / "work")]

    @property
    def is_free(self) -> bool:
        """As its coordinator says, each time that a place is acquired or released."""
        said = (self.folder / "coordinator.log").read_text().splitlines()
        states = [line for line in said if line.startswith("desk: place ")]
        return not states or states[-1] == "desk: place released"

    @property
    def flash(self) -> str:
        """A command that gives the emulated board another program, as a debug probe does."""
        script = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
            "s.sendall(sys.argv[2].encode()); sys.exit(s.recv(2) != b'ok')"
        )
        return f"{shlex.join([sys.executable, '-c', script, str(self._flasher)])} {{elf}}"

    def _flash_server(self) -> Path:
        path = self.folder / "flash.sock"
        server = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(path))
        server.listen()
        done = threading.Event()
        thread = threading.Thread(target=self._serve_flasher, args=(server, done))
        thread.start()

        def stop() -> None:
            done.set()
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))
            thread.join()

        self._stack.callback(stop)
        return path

    def _serve_flasher(self, server: socket.socket, done: threading.Event) -> None:
        running: subprocess.Popen[bytes] | None = None
        while True:
            connection, _ = server.accept()
            with connection:
                if running is not None and (done.is_set() or running.poll() is None):
                    running.kill()
                    running.wait()
                if done.is_set():
                    return
                elf = Path(connection.recv(4096).decode())
                uart = ["-serial", f"tcp:127.0.0.1:{self._uart},server=on,wait=off,nodelay=on"]
                assert BOARD.emulator is not None
                with (self.folder / "board.log").open("wb") as log:
                    running = start(command(BOARD.emulator, elf, uart, count=False), self.folder / "board", log)
                wait_for(lambda: accepts(self._uart))
                self.flashed.append(elf.stem)
                connection.sendall(b"ok")

    def _run(self, name: str, words: list[str]) -> None:
        log = self._stack.enter_context((self.folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            [str(shutil.which(words[0], path=PATHS)), *words[1:]],
            cwd=self.folder / name,
            env={**os.environ, **self._environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

        def stop() -> None:
            process.kill()
            process.wait()

        self._stack.callback(stop)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def lab_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of these tests at the same time do not wait for each other's places."""
    monkeypatch.setenv("LG_COORDINATOR", f"127.0.0.1:{free_ports(1)[0]}")


@pytest.fixture(scope="module")
def running_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(tmp_path_factory.mktemp("lab"), stack)


@pytest.fixture
def desk(running_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    running_lab.use(monkeypatch)
    running_lab.flashed.clear()
    return running_lab


@contextmanager
def acquired(desk: Lab, user: str | None = None) -> Iterator[None]:
    assert desk.client("-p", "desk", "acquire", user=user).returncode == 0
    try:
        yield
        assert not desk.is_free
    finally:
        assert desk.client("-p", "desk", "release", user=user).returncode == 0


@needs_labgrid
@pytest.mark.emulated
@pytest.mark.golden
def test_a_place_is_acquired_flashed_used_and_released(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*desk.verify, "--samples", "4", "--json"]
    assert main([*words, "--port", "labgrid://desk", "--flash", desk.flash]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["samples"], found["mismatched_samples"], found["layer_mismatches"]) == (4, 0, 0)
    assert found["layers_compared"] > 0
    assert desk.flashed == ["verify", "trace"]
    assert desk.is_free


@needs_labgrid
@pytest.mark.slow
@pytest.mark.emulated
@pytest.mark.golden
def test_a_rig_may_have_a_place_of_a_lab(desk: Lab, tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text(
        f'[[place]]\nname = "rack"\nboard = "{BOARD.id}"\nport = "labgrid://desk"\nflash = """{desk.flash}"""\n'
    )
    words = ["-m", "pytest", "--pyargs", "pipeline.device_tests", "--rig", "rig.toml", "--samples", "3", "--soak", "3"]
    done = subprocess.run(
        [sys.executable, *words, "-p", "no:xdist", "-k", "says_what_it_is"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert desk.flashed == ["verify"]
    assert desk.is_free


@needs_labgrid
def test_a_place_is_released_after_a_failure(desk: Lab) -> None:
    with pytest.raises(KeyError), lab.held("labgrid://desk") as address:
        assert address is not None
        assert address.startswith("socket://127.0.0.1:")
        assert not desk.is_free
        raise KeyError
    assert desk.is_free


# A shell that starts a job in the background lets it ignore SIGINT, so the handler is put back.
INTERRUPTIBLE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from pipeline.cli import main; sys.exit(main(sys.argv[1:]))"
)


@needs_labgrid
@pytest.mark.emulated
@pytest.mark.golden
def test_a_place_is_released_when_a_run_is_interrupted(desk: Lab) -> None:
    waits = f"{sys.executable} -c 'import time; time.sleep(600)' {{elf}}"
    words = [*desk.verify, "--port", "labgrid://desk", "--flash", waits]
    with subprocess.Popen([sys.executable, "-c", INTERRUPTIBLE, *words], stderr=subprocess.PIPE) as run:
        try:
            wait_for(lambda: not desk.is_free)
            run.send_signal(signal.SIGINT)
            _, said = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == 130, said.decode()
    assert desk.is_free


@needs_labgrid
def test_a_place_that_is_somebody_elses_is_left_alone(desk: Lab) -> None:
    with (
        acquired(desk, user="bob"),
        pytest.raises(DeviceError, match=r"cannot be acquired: .*already acquired by \S+/bob"),
        lab.held("labgrid://desk"),
    ):
        pass
    reserved = desk.client("reserve", "--shell", "name=desk", user="bob").stdout
    token = reserved.strip().rpartition("=")[2]
    try:
        with (
            pytest.raises(DeviceError, match=r"cannot be acquired: .*was not reserved for"),
            lab.held("labgrid://desk"),
        ):
            pass
    finally:
        desk.client("cancel-reservation", token, user="bob")
    assert desk.is_free


@needs_labgrid
def test_a_place_that_was_acquired_before_stays_acquired(desk: Lab) -> None:
    with acquired(desk), lab.held("labgrid://desk") as address:
        assert address is not None


@needs_labgrid
@pytest.mark.slow
def test_the_place_of_a_reservation_is_used_and_released(desk: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    token = desk.client("reserve", "--wait", "--shell", "name=desk").stdout.strip().rpartition("=")[2]
    monkeypatch.setenv("LG_TOKEN", token)
    try:
        with lab.held("labgrid://+") as address:
            assert address is not None
            assert not desk.is_free
        assert desk.is_free
    finally:
        assert desk.client("cancel-reservation", token).returncode == 0
    with pytest.raises(DeviceError, match=token), lab.held("labgrid://+"):
        pass


@needs_labgrid
def test_a_place_that_does_not_exist_and_a_lab_that_is_not_there(desk: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match=r"labgrid://attic: .*matches nothing"), lab.held("labgrid://attic"):
        pass
    monkeypatch.setenv("LG_COORDINATOR", f"127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(DeviceError, match="Could not connect to coordinator"), lab.held("labgrid://desk"):
        pass


def test_what_is_no_place_never_reaches_a_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for port in ("labgrid://", "labgrid://-x", "labgrid://a b", "labgrid://a/b", "labgrid://++", "labgrid://a\n"):
        with pytest.raises(RequestError, match="is not the name of a place"), lab.held(port):
            pass
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match="labgrid-client is not installed"), lab.held("labgrid://desk"):
        pass


@pytest.mark.parametrize("port", [None, "/dev/ttyACM0", "socket://shelf:1"])
def test_another_port_is_passed_on(port: str | None) -> None:
    with lab.held(port) as address:
        assert address == port


ENV = "targets:\n  desk:\n    resources:\n"


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("    - NetworkSerialPort: {host: shelf, port: 7, protocol: raw, speed: 9600}\n", "socket://shelf:7"),
        ("    - NetworkSerialPort: {host: 'fe80::1', port: 7, extra: {proxy: x, proxy_required: false}}\n",
         "rfc2217://[fe80::1]:7"),
        ("    - USBDebugger: {host: a}\n    - NetworkSerialPort: {name: n, host: b, port: 1}\n", "rfc2217://b:1"),
        ("    - NetworkPowerPort: {host: shelf}\n", "found 0"),
        ("    - NetworkSerialPort: {host: a, port: 1}\n    - NetworkSerialPort: {host: a, port: 2}\n", "found 2"),
        ("    - NetworkSerialPort: {host: a, port: 1, extra: {proxy: gate, proxy_required: true}}\n",
         r"through ssh only \(gate\)"),
        ("    - NetworkSerialPort: {host: a, port: 1, protocol: carrier-pigeon}\n", "no address that is known here"),
        ("    - NetworkSerialPort: {port: 1}\n", "no address that is known here"),
        ("    - [1, 2]\n", "not understood"),
        ("    }{\n", "not understood"),
    ],
)  # fmt: skip
def test_a_serial_port_is_known_by_its_resource(said: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "place_of", lambda port: "desk")
    monkeypatch.setattr(lab, "_ask", lambda place, command: (0, ENV + said, ""))
    with ExitStack() as stack:
        if "://" in address:
            assert stack.enter_context(lab.held("labgrid://desk")) == address
        else:
            stack.enter_context(pytest.raises(DeviceError, match=address))
            stack.enter_context(lab.held("labgrid://desk"))


def test_a_place_that_cannot_be_released_is_told_and_hides_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = {"acquire": (0, "", ""), "release": (1, "", "coordinator gone")}
    env = iter([(1, "", ""), (0, ENV + "    - NetworkSerialPort: {host: a, port: 1}\n", "")])
    monkeypatch.setattr(lab, "place_of", lambda port: "desk")
    monkeypatch.setattr(lab, "_ask", lambda place, command: answers.get(command) or next(env))
    with suppress(KeyError), lab.held("labgrid://desk"):
        raise KeyError
    assert "the place could not be released: coordinator gone; `labgrid-client -p desk release`" in caplog.text
