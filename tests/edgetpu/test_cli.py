"""`tensorflash edgetpu check`, `fix` and `inspect`, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import cli
from tests.edgetpu.mixed_versions import dynamic_batch, mixed_versions
from tests.edgetpu.package_builder import compiled_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.tflite"
    path.write_bytes(mixed_versions())
    return path


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.main([str(a) for a in arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_check_shows_what_is_mapped_why_not_and_what_to_do(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "edgetpu", "check", model)
    assert code == 0
    assert "6 of 8 ops on the CPU" in out
    assert "Operation version not supported" in out
    assert "More than one subgraph is not supported (behind op " in out
    assert "tensorflash edgetpu fix" in out
    code, out, _ = called(capsys, "edgetpu", "check", model, "--json", "--runtime-version", "13")
    found = json.loads(out)
    assert (found["on_edgetpu"], found["on_cpu"], found["runtime_version"]) == (2, 6, 13)


def test_check_ends_with_1_where_nothing_will_compile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dynamic.tflite"
    path.write_bytes(dynamic_batch())
    code, out, _ = called(capsys, "edgetpu", "check", path)
    assert code == 1
    assert "will not compile: " in out


def test_fix_writes_the_repaired_model_and_says_what_it_did(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = model.with_name("fixed.tflite")
    code, out, _ = called(capsys, "edgetpu", "fix", model, "--out", fixed, "--samples", "5")
    assert code == 0
    assert "2 of 8 ops before, 5 of 8 after" in out
    assert "the same bytes on 5 inputs" in out
    code, out, _ = called(capsys, "edgetpu", "fix", fixed, "--out", model.with_name("again.tflite"), "--json")
    assert code == 0
    assert json.loads(out)["proof"] is None
    code, out, _ = called(capsys, "edgetpu", "fix", fixed, "--out", model.with_name("again.tflite"))
    assert "nothing to repair automatically" in out


def test_inspect_reads_a_compiled_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model_edgetpu.tflite"
    path.write_bytes(compiled_model(with_cpu_op=True))
    code, out, _ = called(capsys, "edgetpu", "inspect", path)
    assert code == 0
    assert "version 13 or newer" in out
    assert "4,096 bytes of parameters" in out
    assert "1 op left on the CPU" in out
    code, out, _ = called(capsys, "edgetpu", "inspect", path, "--json")
    assert json.loads(out)["totals"]["cached_parameter_bytes"] == 4096


@pytest.mark.parametrize("command", ["check", "inspect"])
@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0" * 100, mixed_versions()[:900], compiled_model()[:900]])
def test_bad_files_give_one_message_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, content: bytes
) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(content)
    code, out, err = called(capsys, "edgetpu", command, path, "--json")
    assert code == 2
    assert "Traceback" not in err
    assert str(path) in json.loads(out)["error"]["message"]


def test_a_runtime_version_that_nobody_has_is_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, "edgetpu", "check", model, "--runtime-version", "99")
    assert code == 2
    assert "99" in err
