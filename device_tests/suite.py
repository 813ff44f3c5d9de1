"""The options of the device tests, their boards, and the evidence they leave."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import __version__, rig
from pipeline import board as boards
from pipeline.devices import TRANSPORTS, lab
from pipeline.devices.ports import AbsentError
from pipeline.errors import TensorflashError
from pipeline.rig import Place

from .bench import Bench, Request, skip_or_fail

OWN_MODEL = Path(__file__).with_name("tiny.tflite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, beside pytest's own."""
    group = parser.getgroup("tensorflash", "tensorflash device tests")
    group.addoption("--board", action="append", default=[], metavar="ID", help="a board; may be given several times")
    group.addoption("--rig", type=Path, metavar="FILE", help="a rig file: several boards, tested in parallel")
    group.addoption(
        "--port", metavar="PORT", help="the board's: /dev/tty.., COM.., socket://.., rfc2217://.., labgrid://PLACE"
    )
    group.addoption("--serial-number", metavar="S", help="of the board's USB device")
    group.addoption("--transport", choices=TRANSPORTS, help="of emulated boards (default: one after the other)")
    group.addoption("--model", type=Path, metavar="FILE", help="an int8 .tflite (default: a small one of our own)")
    group.addoption("--runtime", default="aot", metavar="NAME", help="aot (default) or tflm")
    group.addoption("--golden", type=Path, metavar="FILE", help="saved golden answers, where there is no tflite-micro")
    group.addoption("--samples", type=_count, default=100, metavar="N", help="to compare (default: 100)")
    group.addoption("--soak", type=_count, default=1000, metavar="N", help="inferences in a row (default: 1000)")
    group.addoption("--seed", type=int, default=0, metavar="S", help="of the samples and the faults (default: 0)")
    group.addoption("--count-budget", type=_count, metavar="N", help="cycles (emulated: instructions) of an inference")
    group.addoption("--require-hardware", action="store_true", help="what would be skipped fails")
    group.addoption("--evidence", type=Path, metavar="FILE", help="write what was proved on what, as JSON")


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1_000_000:
        raise ValueError(text)
    return number


def in_parallel(args: Sequence[str]) -> list[str]:
    """The options that test the boards of a rig in parallel, a worker each, where pytest-xdist is there to do it."""
    if "PYTEST_XDIST_WORKER" in os.environ or importlib.util.find_spec("xdist") is None:
        return []
    path = _option(args, "--rig")
    asked = any(a.startswith(("-n", "--numprocesses", "--dist", "--pdb")) or a.endswith("no:xdist") for a in args)
    if path is None or asked:
        return []
    try:
        count = len({_group(place) for place in rig.load(Path(path))})
    except TensorflashError:
        return []  # told by pytest_configure
    return ["-n", str(count), "--dist", "loadgroup"]


def _option(args: Sequence[str], name: str) -> str | None:
    for at, argument in enumerate(args):
        if argument == name and at + 1 < len(args):
            return args[at + 1]
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
    return None


def pytest_configure(config: pytest.Config) -> None:
    """Reads the request once, so that its mistakes are told before anything runs."""
    try:
        config.stash[_PLACES] = _places(config)
    except TensorflashError as error:
        raise pytest.UsageError(str(error)) from error
    # JUnit's strict schema has no properties of a test; what reads it does.
    config.addinivalue_line("filterwarnings", "ignore:record_property is incompatible with junit_family")
    if not hasattr(config, "workerinput") and config.getoption("evidence"):
        config.pluginmanager.register(Evidence(config.getoption("evidence")), "tensorflash-evidence")


_PLACES = pytest.StashKey[tuple[Place, ...]]()


def _places(config: pytest.Config) -> tuple[Place, ...]:
    asked, path = config.getoption("board"), config.getoption("rig")
    port, serial_number = config.getoption("port"), config.getoption("serial_number")
    if path is not None:
        if asked or port or serial_number:
            raise pytest.UsageError("--rig names boards and ports: leave --board, --port and --serial-number out.")
        return rig.load(path)
    if (port or serial_number) and len(asked) != 1:
        raise pytest.UsageError("--port and --serial-number are of one --board; for several write a rig file, --rig.")
    result = []
    for name in dict.fromkeys(asked):
        board = boards.load(name)
        if board.edgetpu is not None:
            raise pytest.UsageError(f"{board.id} runs a bundle and no firmware: `tensorflash edgetpu`.")
        if board.emulator is None or port is not None:
            result.append(Place(board.id, board, port, serial_number))
            continue
        transports = (config.getoption("transport"),) if config.getoption("transport") else TRANSPORTS
        result += [Place(f"{board.id}-{transport}", board, transport=transport) for transport in transports]
    return tuple(result)


def _group(place: Place) -> str:
    """Places of one board file share what is built for it; places that are found by port never wait for another."""
    return place.board.id if place.port is None and place.serial_number is None else place.name


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test runs on each place."""
    if "bench" not in metafunc.fixturenames:
        return
    parallel = metafunc.config.pluginmanager.hasplugin("xdist")
    metafunc.parametrize(
        "bench",
        [
            pytest.param(place, id=place.name, marks=[pytest.mark.xdist_group(_group(place))] if parallel else [])
            for place in metafunc.config.stash[_PLACES]
        ]
        or [pytest.param(None, id="no_board")],
        indirect=True,
        scope="session",
    )


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One place, with the firmware of the model, built once a board; in a lab it is held until its tests are over."""
    option = request.config.getoption
    place: Place | None = request.param
    if place is None:
        skip_or_fail("no board was named: --board ID, or --rig FILE.", fail=option("require_hardware"))
    wanted = Request(
        model=option("model") or OWN_MODEL,
        runtime=option("runtime"),
        golden_file=option("golden"),
        samples=max(option("samples"), option("soak")),
        seed=option("seed"),
        require_hardware=option("require_hardware"),
    )
    folders = request.config.stash.setdefault(_FOLDERS, {})
    folder = folders.setdefault(place.board.id, tmp_path_factory.mktemp(place.board.id))
    try:
        with lab.held(place.port) as address:
            yield Bench.build(replace(place, port=address), wanted, folder)
    except AbsentError as absent:
        skip_or_fail(str(absent), fail=absent.named or wanted.require_hardware)
    except TensorflashError as error:
        pytest.fail(str(error), pytrace=False)


_FOLDERS = pytest.StashKey[dict[str, Path]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """What goes wrong with a device is told as a person would, without a traceback."""
    if "bench" not in getattr(item, "fixturenames", ()):
        return (yield)
    try:
        return (yield)
    except TensorflashError as error:
        pytest.fail(str(error), pytrace=False)


class Evidence:
    """What was proved, on what, with which versions; of failures also the bytes. One JSON file a run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tests: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps the outcome, and what the test recorded (record_property)."""
        if report.when == "call" or report.outcome != "passed":
            found = self._tests.setdefault(report.nodeid, {})
            found["outcome"] = "failed" if "failed" in (found.get("outcome"), report.outcome) else report.outcome
            found.update(report.user_properties)
            if report.outcome != "passed":
                found["text"] = report.longreprtext if report.failed else str(report.longrepr[2])  # type: ignore[index]

    def pytest_sessionfinish(self) -> None:
        """Writes the file."""
        packages = ("tflite-micro", "platformio", "pytest", "pyserial", "numpy")
        text = json.dumps(
            {
                "tensorflash": __version__,
                "python": sys.version.split()[0],
                "system": platform.platform(),
                "packages": {name: _version(name) for name in packages},
                "tests": self._tests,
            },
            indent=2,
            sort_keys=True,
        )
        self._path.write_text(text + "\n", encoding="utf-8")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
