"""The device tests themselves: they run where they are named, pass on boards that are right, and fail on others."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline import build, tflite
from pipeline.board import all_boards, load
from pipeline.device_tests import faults, test_board
from pipeline.device_tests.bench import Bench, Request
from pipeline.device_tests.faults import FAULTS, FaultyStream
from pipeline.device_tests.plugin import names_the_suite
from pipeline.device_tests.suite import OWN_MODEL
from pipeline.devices import TRANSPORTS
from pipeline.model import Inference
from pipeline.project import Project
from pipeline.rig import Place
from tests.devices.test_link import Script
from tests.tflite_builder import TfliteBuilder

EMULATED = [board.id for board in all_boards() if board.emulator is not None]


def tiny() -> bytes:
    """A convolution, a depthwise one, a pool, a dense layer and a softmax: 6 x 6 x 2 codes in, 5 out."""
    random = np.random.default_rng(7)
    model = TfliteBuilder("the device tests' own model")

    def weights(*shape: int) -> np.ndarray:
        return random.integers(-127, 128, shape).astype(np.int8)

    def bias(count: int) -> np.ndarray:
        return random.integers(-300, 300, count).astype(np.int32)

    image = model.input((1, 6, 6, 2), scale=0.04, zero_point=-5, name="image")
    wide = model.tensor((1, 6, 6, 4), scale=0.06, zero_point=-128)
    deep = model.tensor((1, 3, 3, 4), scale=0.05, zero_point=3)
    small = model.tensor((1, 1, 1, 4), scale=0.05, zero_point=3)
    flat = model.tensor((1, 4), scale=0.05, zero_point=3)
    logits = model.tensor((1, 5), scale=0.03, zero_point=10)
    odds = model.output((1, 5), scale=1 / 256, zero_point=-128, name="odds")
    filters = model.constant(weights(4, 3, 3, 2), scale=[0.01, 0.012, 0.007, 0.02])
    model.op("CONV_2D", [image, filters, model.constant(bias(4), scale=0.0004)], [wide], padding="SAME", stride_h=1,
             stride_w=1, fused_activation_function="RELU")  # fmt: skip
    filters = model.constant(weights(1, 3, 3, 4), scale=[0.005, 0.006, 0.004, 0.007], axis=3)
    model.op("DEPTHWISE_CONV_2D", [wide, filters, model.constant(bias(4), scale=0.0003)], [deep], padding="SAME",
             stride_h=2, stride_w=2, depth_multiplier=1)  # fmt: skip
    model.op("AVERAGE_POOL_2D", [deep], [small], padding="VALID", stride_h=3, stride_w=3, filter_height=3,
             filter_width=3)  # fmt: skip
    model.op("RESHAPE", [small], [flat])
    model.without_options()
    model.op("FULLY_CONNECTED", [flat, model.constant(weights(5, 4), scale=0.02), -1], [logits])
    model.op("SOFTMAX", [logits], [odds], beta=1.0)
    return model.build()


def run(folder: Path, *arguments: str, plugins: bool = False) -> subprocess.CompletedProcess[str]:
    """The suite as a user runs it, elsewhere than in the repository."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-q",
        "-rA",
        "--pyargs",
        "pipeline.device_tests",
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "TENSORFLASH_"))}
    return subprocess.run(
        [*command, *([] if plugins else ["-p", "no:xdist"]), *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=3600, check=False,
    )  # fmt: skip


def outcomes(evidence: Path) -> dict[str, str]:
    tests: dict[str, Any] = json.loads(evidence.read_text())["tests"]
    return {name.partition("::")[2]: found["outcome"] for name, found in tests.items()}


def test_the_suites_own_model_is_what_this_file_makes() -> None:
    if os.environ.get("TENSORFLASH_UPDATE_GOLDEN"):
        OWN_MODEL.write_bytes(tiny())
    assert OWN_MODEL.read_bytes() == tiny()
    assert [op.name for op in tflite.read(OWN_MODEL).ops][:2] == ["CONV_2D", "DEPTHWISE_CONV_2D"]


def test_the_suites_options_are_there_only_where_it_is_named() -> None:
    for argument in ("device_tests", "device_tests/test_board.py::test_x", "pipeline.device_tests", "./device_tests/"):
        assert names_the_suite([argument, "-q"])
    for argument in ("tests", "tests/test_device_tests.py", "my_device_tests", "--ignore=device_tests"):
        assert not names_the_suite([argument])


@pytest.mark.golden
def test_this_computer_passes_and_leaves_evidence(tmp_path: Path) -> None:
    done = run(
        tmp_path, "--board", "native", "--samples", "9", "--soak", "30", "--evidence", "e.json", "--junitxml=j.xml"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout
    found = outcomes(tmp_path / "e.json")
    assert set(found.values()) == {"passed"} and len(found) == 11 + len(FAULTS)
    tests = json.loads((tmp_path / "e.json").read_text())["tests"]
    identity = next(test for name, test in tests.items() if "says_what_it_is" in name)
    assert identity["model"]["sha256"] == tflite.read(OWN_MODEL).sha256
    assert set(identity["images"]) == {"release", "verify", "trace"} and identity["identity"]["board"] == "native"
    assert 'tests="19"' in (tmp_path / "j.xml").read_text()


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.slow
@pytest.mark.parametrize(
    ("board", "transport"), [("native", None), *((board, transport) for board in EMULATED for transport in TRANSPORTS)]
)
def test_every_board_that_runs_here_gives_10_000_right_answers(
    board: str, transport: str | None, tmp_path: Path
) -> None:
    arguments = ["--board", board, *(["--transport", transport] if transport else [])]
    done = run(tmp_path, *arguments, "--samples", "12", "--soak", "10000", "--evidence", "e.json")
    assert done.returncode == 0, done.stdout + done.stderr
    tests = json.loads((tmp_path / "e.json").read_text())["tests"]
    (soak,) = (found for name, found in tests.items() if "soak" in name)
    assert (soak["samples"], soak["mismatched_samples"]) == (10_000, 0)


@pytest.mark.golden
@pytest.mark.emulated
def test_a_rig_is_tested_in_parallel_and_what_is_absent_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text(
        '[[place]]\nname = "here"\nboard = "native"\n'
        '[[place]]\nname = "far"\nboard = "qemu_cortex_m4"\ntransport = "uart"\n'
        '[[place]]\nname = "desk"\nboard = "teensy41"\n'
    )
    arguments = (
        "-v",
        "--rig",
        "rig.toml",
        "--samples",
        "6",
        "--soak",
        "6",
        "--evidence",
        "e.json",
        "-k",
        "golden or soak",
    )
    done = run(tmp_path, *arguments, plugins=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "created: 3/3 workers" in done.stdout
    found = outcomes(tmp_path / "e.json")
    assert {o for name, o in found.items() if "[here]" in name or "[far]" in name} == {"passed"}
    assert [o for name, o in found.items() if "[desk]" in name] == ["skipped"] * 3
    assert "teensy41 is not connected" in done.stdout


def test_absent_hardware_skips_unless_it_is_named_or_required(tmp_path: Path) -> None:
    only = ("-k", "every_answer")
    for arguments in (["--require-hardware"], ["--port", str(tmp_path / "ttyNone")]):
        done = run(tmp_path, "--board", "teensy41", *arguments, *only)
        assert done.returncode == 1 and "Try: " in done.stdout, done.stdout
        assert "Traceback" not in done.stdout
    assert "no board was named" in run(tmp_path, *only).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--board", "moon"], "there is no board 'moon'"),
        (["--board", "native", "--board", "pico", "--port", "x"], "are of one --board"),
        (["--rig", "none.toml", "--board", "pico"], "leave --board"),
        (["--board", "coral_usb"], "runs a bundle and no firmware"),
    ],
)
def test_a_request_with_a_mistake_is_told_before_anything_runs(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR and message in done.stderr, done.stdout + done.stderr


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """This computer, with the firmware of the suite's own model."""
    request = Request(OWN_MODEL, "aot", None, 6, 0, False)
    return Bench.build(Place("here", load("native")), request, tmp_path_factory.mktemp("bench"))


def answers_of(bench: Bench) -> list[Inference]:
    with bench.open() as device:
        return [bench.infer(device, index) for index in range(6)]


@pytest.mark.golden
def test_a_wrong_answer_fails_with_its_bytes(bench: Bench) -> None:
    answers = answers_of(bench)
    recorded: dict[str, Any] = {}
    bench.require_right(answers, recorded.__setitem__)
    assert recorded == {"samples": 6, "mismatched_samples": 0}
    wrong = answers[4].outputs[0].copy()
    wrong[0, 2] ^= 1
    answers[4] = replace(answers[4], outputs=(wrong,))
    with pytest.raises(pytest.fail.Exception, match=r"1 of 6 answers .* sample 4; in the trace build every layer is"):
        bench.require_right(answers, recorded.__setitem__)
    assert recorded["failure"]["sample"] == 4 and recorded["failure"]["answered"] == [wrong.tobytes().hex()]
    assert recorded["failure"]["expected"] != recorded["failure"]["answered"]


@pytest.mark.golden
def test_wrong_firmware_fails_with_the_first_wrong_layer(bench: Bench, tmp_path: Path) -> None:
    """The depthwise convolution clamps too early."""
    folder = Path(shutil.copytree(bench.project, tmp_path / "project"))
    source = folder / "lib/tiny/src/tiny.c"
    before, _, after = source.read_text().partition("static const struct tflash_depthwise_conv_2d_s8_params")
    assert ".activation_max = 127," in after
    source.write_text(
        f"{before}static const struct tflash_depthwise_conv_2d_s8_params"
        + after.replace(".activation_max = 127,", ".activation_max = 3,", 1)
    )
    images = build.compile_project(Project(folder, load("native"), "tiny"), ["verify", "trace"])
    wrong = replace(bench, images={**bench.images, **images})
    with pytest.raises(
        pytest.fail.Exception, match=r"the first layer that differs is op 1 \(DEPTHWISE_CONV_2D\), t\d+"
    ):
        wrong.require_right(answers_of(wrong), lambda *_: None)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("beyond", "message"),
    [
        ({}, None),
        ({"arena": 1 << 20}, "arena"),
        ({"stack": 8193}, "more stack than is reserved"),
        ({"flash": (1 << 20) + 1}, "flash_bytes"),
        ({"ram": (256 << 10) - 8191}, "ram_bytes"),
        ({"count": 501}, "501 instructions an inference, the budget is 500"),
        ({"count": None}, "this board counts nothing"),
    ],
)
def test_each_limit_can_be_broken(
    beyond: dict[str, int | None], message: str | None, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a board with 1 MiB of flash, 256 KiB of RAM and 8 KiB of stack, with a budget of 500 instructions."""
    found = {"arena": 1, "stack": 8192, "flash": 1 << 20, "ram": (256 << 10) - 8192, "count": 500} | beyond
    target = load("qemu_cortex_m4")
    assert (target.flash_bytes, target.ram_bytes, target.stack_bytes) == (1 << 20, 256 << 10, 8192)
    device = SimpleNamespace(
        stack_bytes=lambda: found["stack"], arena_used_bytes=lambda: found["arena"], count_unit="instructions"
    )
    image = replace(bench.images["release"], flash_bytes=found["flash"], ram_bytes=found["ram"])
    limited = replace(bench, place=Place("there", target), images={"release": image})
    monkeypatch.setattr(limited, "open", lambda: contextlib.nullcontext(device))
    monkeypatch.setattr(limited, "infer", lambda *_: Inference((), found["count"]))
    config = SimpleNamespace(getoption={"count_budget": 500}.__getitem__)
    with contextlib.nullcontext() if message is None else pytest.raises(AssertionError, match=message):
        test_board.test_the_limits_are_kept(limited, lambda *_: None, config)


@pytest.mark.golden
@pytest.mark.slow
def test_the_evidence_of_a_failure_has_its_bytes(bench: Bench, tmp_path: Path) -> None:
    """Saved golden answers, of which one is wrong."""
    outputs = bench.truth.outputs[0].copy()
    outputs[2, 0, 1] ^= 64
    replace(bench.truth, outputs=(outputs,)).save(tmp_path / "wrong.npz")
    arguments = ("--golden", "wrong.npz", "--samples", "6", "--soak", "1", "--evidence", "e.json", "-k", "every_answer")
    done = run(tmp_path, "--board", "native", *arguments)
    assert done.returncode == 1 and "1 of 6 answers are wrong, the first to sample 2" in done.stdout
    assert "Traceback" not in done.stdout
    (test,) = json.loads((tmp_path / "e.json").read_text())["tests"].values()
    assert (test["outcome"], test["samples"], test["mismatched_samples"]) == ("failed", 6, 1)
    assert test["failure"]["expected"] == [outputs[2].tobytes().hex()]
    assert test["failure"]["answered"] == [bench.truth.outputs[0][2].tobytes().hex()]


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"crumbs", "all"}))
def test_a_faulty_stream_does_what_it_says_equally_for_a_seed(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In both directions, and however the bytes are cut up."""
    for name, value in (("_STALL_S", 0.0), ("FLIPS_PER_BIT", 1e-3), ("FAULTS_PER_BYTE", 1e-2)):
        monkeypatch.setattr(faults, name, value)  # ten times as many as on a line
    sent = bytes(range(256)) * 40

    def through(size: int) -> tuple[list[bytes], int]:
        parts = [sent[at : at + size] for at in range(0, len(sent), size)]
        line = Script(*parts)
        faulty = FaultyStream(line, fault, seed=1)
        for part in parts:
            faulty.write(part)
        came = b""
        while line.parts or faulty._waiting:
            came += faulty.read(4096, 0.0)
        return [b"".join(line.sent), came], faulty.injected

    whole, injected = through(len(sent))
    assert through(100) == (whole, injected)
    assert whole[0] != whole[1] or fault == "stall"
    for came in whole:
        if fault == "flip":
            wrong = sum(bin(a ^ b).count("1") for a, b in zip(sent, came, strict=True))
            assert 40 < wrong < 130, "one bit in 1,000 of 81,920"
        elif fault in ("drop", "double"):
            assert 60 < abs(len(sent) - len(came)) < 150, "one byte in 100 of 10,240"
        elif fault in ("noise", "cut"):
            assert 60 < abs(len(sent) - len(came)) / (64 if fault == "noise" else 32.5) < 150
        else:
            assert came == sent and 60 < injected < 150


def test_a_faulty_stream_hands_over_crumbs() -> None:
    line = Script(b"abc")
    faulty = FaultyStream(line, "crumbs", 0)
    faulty.write(b"xyz")
    assert line.sent == [b"x", b"y", b"z"]
    assert [faulty.read(9, 0.0) for _ in range(3)] == [b"a", b"b", b"c"]


def test_a_stall_is_a_second_without_a_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FAULTS_PER_BYTE", 1.0)
    faulty = FaultyStream(Script(b"late"), "stall", 0)
    start = time.monotonic()
    while not (came := faulty.read(9, 0.05)):
        pass
    assert came == b"late" and time.monotonic() - start >= 1.0


def test_a_fault_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no fault 'moon'"):
        FaultyStream(Script(), "moon", 0)
