"""What all tests share: which of them run here, the model zoo, and the memory of a long run that was interrupted."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

FULL = os.environ.get("TENSORFLASH_FULL") == "1"

NEEDED_TOOLS = {"emulated": ("arm-none-eabi-gcc", "qemu-system-arm", "riscv64-unknown-elf-gcc", "qemu-system-riscv32")}
NEEDED_PACKAGES = {
    "emulated": ("platformio", "SCons"),
    "golden": ("tflite_micro",),
    "train": ("tensorflow", "tf_keras", "tensorflow_model_optimization"),
}


@pytest.fixture(scope="session")
def model_zoo() -> Path:
    """The folder of published models that are not part of the repository: mlperf_tiny/kws_ref_model.tflite, ..."""
    folder = os.environ.get("TENSORFLASH_MODEL_ZOO")
    if not folder:
        pytest.skip("TENSORFLASH_MODEL_ZOO is not set")
    if not Path(folder).is_dir():
        pytest.fail(f"TENSORFLASH_MODEL_ZOO={folder} is not a folder")
    return Path(folder)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers():
        missing = [tool for tool in NEEDED_TOOLS.get(marker.name, ()) if shutil.which(tool) is None]
        missing += [name for name in NEEDED_PACKAGES.get(marker.name, ()) if importlib.util.find_spec(name) is None]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is slow, and what passed before on these very files; files that take long come first.

    Each core that is free takes the next file, so what begins last is short: first what trains, then what builds.
    """
    passed = _passed_before(config)
    kept, left_out = [], []
    for item in items:
        slow = item.get_closest_marker("slow") is not None and not FULL
        (left_out if slow or item.nodeid in passed else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
    weights: dict[Path, int] = {}
    for item in items:
        weight = 2 * ("train" in item.keywords) + ("emulated" in item.keywords)
        weights[item.path] = max(weight, weights.get(item.path, 0))
    items.sort(key=lambda item: -weights[item.path])


# scripts/test --full names a file, of these very sources, to which each passed test is added as soon as it has passed.
_STATE = os.environ.get("TENSORFLASH_TEST_STATE", "")
_passed_calls: set[str] = set()


def _passed_before(config: pytest.Config) -> set[str]:
    if not _STATE:
        return set()
    # pytest-xdist's workers must agree on what there is to do, so all take what its controller has read.
    worker = getattr(config, "workerinput", None)
    known: list[str] = worker["passed_before"] if worker is not None else _read_state()
    return set(known)


def _read_state() -> list[str]:
    return Path(_STATE).read_text().splitlines() if _STATE and Path(_STATE).exists() else []


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    node.workerinput["passed_before"] = _read_state()  # type: ignore[attr-defined]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if not _STATE or "PYTEST_XDIST_WORKER" in os.environ:
        return
    if report.when == "call" and report.passed:
        _passed_calls.add(report.nodeid)
    elif report.when == "teardown" and report.passed and report.nodeid in _passed_calls:
        with Path(_STATE).open("a") as state:
            state.write(report.nodeid + "\n")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Nothing left to do is a success when everything passed before."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and _read_state():
        session.exitstatus = pytest.ExitCode.OK
