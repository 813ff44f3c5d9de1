"""The device tests themselves: they run where they are named, pass on boards that are right, and fail on others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import tflite
from pipeline.board import all_boards, load
from pipeline.device_tests import faults
from pipeline.device_tests.bench import Bench, Request
from pipeline.device_tests.faults import FAULTS, FaultyStream
from pipeline.device_tests.plugin import names_the_suite
from pipeline.device_tests.suite import OWN_MODEL
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
    found = outcomes(tmp_path / "e.json")
    assert set(found.values()) == {"passed"} and len(found) == 9 + len(FAULTS)
    tests = json.loads((tmp_path / "e.json").read_text())["tests"]
    identity = next(test for name, test in tests.items() if "says_what_it_is" in name)
    assert identity["model"]["sha256"] == tflite.read(OWN_MODEL).sha256
    assert set(identity["images"]) == {"release", "verify", "trace"} and identity["identity"]["board"] == "native"
    assert 'tests="17"' in (tmp_path / "j.xml").read_text()


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.slow
@pytest.mark.parametrize("board", EMULATED)
def test_an_emulated_board_passes_over_both_transports(board: str, tmp_path: Path) -> None:
    for transport in ("fast", "uart"):
        done = run(tmp_path, "--board", board, "--transport", transport, "--samples", "12", "--soak", "10000")
        assert done.returncode == 0, done.stdout + done.stderr


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


@pytest.mark.golden
def test_a_wrong_answer_fails_with_its_bytes_and_the_first_wrong_layer(tmp_path: Path) -> None:
    native = Place("here", load("native"))
    bench = Bench.build(native, Request(OWN_MODEL, "aot", None, 6, 0, False), tmp_path)
    with bench.open() as device:
        answers = [device.infer(bench.truth.vectors.sample(index)) for index in range(6)]
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
