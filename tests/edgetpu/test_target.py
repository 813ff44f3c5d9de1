"""Recipes with an Edge TPU, end to end; the compiler and the library are stand-ins, or missing as they are here."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import recipe
from pipeline.cli import main
from pipeline.edgetpu import bundle, compiler, deploy, page
from pipeline.errors import DeviceError, RequestError, ToolError, UnsupportedError
from pipeline.run import RunResult, run_recipe
from tests import tiny_recipe
from tests.edgetpu.package_builder import CACHED, options
from tests.edgetpu.ssh_board import ssh_board
from tests.edgetpu.test_compiler import stand_in
from tests.test_cli import small_model

pytestmark = pytest.mark.golden


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No compiler and no library, whatever this computer has."""
    monkeypatch.setattr(compiler, "PROGRAM", "edgetpu-compiler-that-is-not-there")
    monkeypatch.delenv(compiler.COMMAND_VARIABLE, raising=False)
    monkeypatch.setenv("EDGETPU_LIBRARY", "libedgetpu-absent.so.1")


def run(folder: Path, out: str = "work", **settings: str) -> RunResult:
    path = tiny_recipe.write(folder, **{"target": "coral_usb", **settings})
    return run_recipe(path, out=folder / out, progress=lambda *_: None)


def page_of(result: RunResult) -> tuple[dict[str, Any], str]:
    assert result.report is not None
    report = json.loads(result.report.with_name("report.json").read_text())
    return report["edgetpu"][0], result.report.read_text()


def test_without_compiler_and_device_the_bundle_runs_on_the_cpu_and_says_so(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 0
    told, html = page_of(result)
    assert told["check"]["on_edgetpu"] == 2
    assert told["compile"] is None
    assert "is not installed" in told["compile_skipped"]
    assert told["device"]["device"] == "cpu"
    assert told["device"]["reason"] == "the bundle has no compiled model"
    assert told["device"]["identical_passes"]
    assert told["device"]["comparison"]["samples"] == tiny_recipe.SAMPLES
    assert told["device"]["test_set"]["accuracy"]["total"] == 12
    assert not Path(told["bundle"]["path"]).is_absolute()
    made = bundle.load(tmp_path / "work" / told["bundle"]["path"], told["bundle"]["identity"])
    assert made.compiled == ()
    assert html.count("<rect") == 4  # two ops in the strip and in the graph
    assert "Not compiled:" in html
    assert "answers on the CPU" in html
    assert result.report is not None
    cases = ElementTree.parse(result.report.with_name("junit.xml")).findall(".//testcase")
    skipped = [case.get("name") for case in cases if case.find("skipped") is not None]
    assert skipped == ["compile", "answers on the Edge TPU"]
    assert "answers of the bundle on the CPU" in [case.get("name") for case in cases]


def test_a_second_run_repeats_the_measurement_only(tmp_path: Path) -> None:
    first = run(tmp_path)
    second = run_recipe(tmp_path / "recipe.yaml", out=tmp_path / "work", progress=lambda *_: None)
    assert not any(step.reused for step in first.steps)
    assert all(step.reused for step in second.steps)
    assert page_of(first)[0]["bundle"] == page_of(second)[0]["bundle"]


def test_with_the_compiler_the_bundle_has_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiler.COMMAND_VARIABLE, stand_in("partial"))
    told, html = page_of(run(tmp_path))
    assert told["compile_skipped"] is None
    (model,) = told["compile"]["models"]
    assert (model["predicted"], model["on_cpu"]) == ({"on_edgetpu": 2, "on_cpu": 0}, 1)
    assert any("0 ops on the CPU were predicted" in sentence for sentence in told["compile"]["disagreements"])
    # The stand-in's package holds nothing: that is told, and not passed over.
    assert any("its package cannot be read" in sentence for sentence in told["compile"]["disagreements"])
    assert told["bundle"]["compiled"] == ["small_edgetpu.tflite"]
    # There is a package, but no library to run it with.
    assert told["device"]["trouble"] == "library-missing"
    assert "libedgetpu1-std" in told["device"]["reason"]
    assert "2.5 KiB" in html
    assert ".tmp-" not in json.dumps(told)
    assert str(tmp_path) not in json.dumps(told)


def test_segments_are_told_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiler.COMMAND_VARIABLE, stand_in("success"))
    (tmp_path / "package").write_bytes(options(CACHED))
    monkeypatch.setenv("STAND_IN_PACKAGE", str(tmp_path / "package"))
    told, html = page_of(run(tmp_path, edgetpu="{segments: 2}"))
    assert told["bundle"]["compiled"] == [f"small_segment_{i}_of_2_edgetpu.tflite" for i in range(2)]
    assert [part["path"] for part in told["compile"]["models"][0]["segments"]] == told["bundle"]["compiled"]
    assert all(f"<b>{name}</b>" in html for name in told["bundle"]["compiled"])
    # What is in the packages was read, and the bundle asks for the runtime that they need.
    parts = told["compile"]["models"][0]["segments"]
    assert [part["inspection"]["totals"]["cached_parameter_bytes"] for part in parts] == [4096, 4096]
    assert html.count("read from the package") == 2
    contract = json.loads((tmp_path / "work" / told["bundle"]["path"] / "contract.json").read_text())
    assert contract["min_runtime_version"] == 13


def test_a_compiler_that_fails_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiler.COMMAND_VARIABLE, stand_in("zero"))
    with pytest.raises(UnsupportedError, match="no op is mapped"):
        run(tmp_path)
    monkeypatch.setenv(compiler.COMMAND_VARIABLE, stand_in("exits 0 with a stub"))
    with pytest.raises(ToolError, match="left a stub"):
        run(tmp_path)
    assert tiny_recipe.leftovers(tmp_path) == []


def test_an_edge_tpu_that_is_insisted_on_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiler.COMMAND_VARIABLE, stand_in("success"))
    with pytest.raises(DeviceError, match="runtime library is not installed"):
        run(tmp_path, edgetpu="{device: edgetpu}")


def test_bounds_that_are_not_kept_fail_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = deploy._answer

    def off_by_many(*arguments: Any) -> deploy.DeviceRun:
        heard = real(*arguments)
        mirrored = tuple(array[:, :, ::-1] for array in heard.outputs)
        return replace(heard, outputs=mirrored, passes=(*heard.passes, "another"))

    monkeypatch.setattr(deploy, "_answer", off_by_many)
    result = run(tmp_path)
    assert result.exit_code == 1
    assert any("within" in problem for problem in result.problems)
    assert any("two runs of the same samples gave different bytes" in problem for problem in result.problems)
    assert "Not within the bounds" in page_of(result)[1]


@pytest.mark.slow
def test_a_board_behind_ssh_answers_as_this_computer_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, _ = page_of(run(tmp_path / "here"))
    with ssh_board(tmp_path / "board") as board:
        place = board.place
        # An `ssh` that knows the board's key and ours, as a configuration in the user's home would make it.
        tools = tmp_path / "ssh-tools"
        tools.mkdir()
        (tools / "ssh").write_text(
            f"#!/bin/sh\nexec {shutil.which('ssh')} -i {place.identity} -o IdentitiesOnly=yes "
            f'-o UserKnownHostsFile={place.known_hosts} "$@"\n'
        )
        (tools / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
        section = f"{{host: {place.host}, port: {place.port}, python: {sys.executable}}}"
        there, _ = page_of(run(tmp_path / "there", target="coral_dev_board", edgetpu=section))
        assert len(list(board.home.glob("tensorflash/small-*"))) == 1
    assert there["device"]["comparison"] == here["device"]["comparison"]
    assert there["device"]["device"] == "cpu"


@pytest.mark.parametrize(
    ("target", "said"),
    [("native, runtime: edgetpu", "it has no Edge TPU"), ("coral_usb, runtime: aot", "it has an Edge TPU")],
)
def test_a_board_and_a_runtime_that_do_not_belong_together_are_refused(target: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=said):
        run(tmp_path, target=target)


def test_a_run_stops_before_the_device(tmp_path: Path) -> None:
    path = tiny_recipe.write(tmp_path, target="coral_usb")
    result = run_recipe(path, out=tmp_path / "work", until="build", progress=lambda *_: None)
    assert [s.stage for s in result.steps][-2:] == ["edgetpu-fix-coral_usb", "edgetpu-bundle-coral_usb"]


def test_the_recipe_has_a_section_for_it(tmp_path: Path) -> None:
    path = tiny_recipe.write(tmp_path, target="coral_usb", edgetpu="{host: mendel@board, top1_agreement: 0.9}")
    assert recipe.load(path).edgetpu.host == "mendel@board"


# The command line


def test_compile_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.tflite").write_bytes(small_model().build())
    words = ["edgetpu", "compile", str(tmp_path / "m.tflite"), "--out", str(tmp_path / "out")]
    assert main(words) == 3
    assert "signed-by=" in capsys.readouterr().err
    words += ["--compiler", stand_in("success"), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["models"][0]["on_cpu"] == 0
    assert Path(told["models"][0]["segments"][0]["path"]).is_file()
    assert main(words[:-1]) == 0
    assert "2 of 2 ops mapped" in capsys.readouterr().out


def test_deploy_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told, _ = page_of(run(tmp_path))
    folder = tmp_path / "work" / told["bundle"]["path"]
    words = ["edgetpu", "deploy", str(folder), "--samples", "6", "--expect", told["bundle"]["identity"]]
    assert main(words) == 0
    assert "within the bounds" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["device"] == "cpu"
    (folder / "labels.txt").write_text("edited\n")
    assert main(words) == 2
    assert "labels.txt is not what was written" in capsys.readouterr().err
    assert main([*words[:-1], "0" * 64]) == 2


def test_run_on_the_command_line_names_the_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny_recipe.write(tmp_path, target="coral_usb")
    words = ["run", str(path), "--out", str(tmp_path / "work")]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["targets"] == []
    assert told["edgetpu"][0]["board"] == "coral_usb"
    assert main(words) == 0
    said = capsys.readouterr().out
    assert told["edgetpu"][0]["bundle"]["identity"] in said
    assert "not compiled, because" in said


def drawn_op(index: int, target: str, reads: list[int], blocker: bool = False) -> dict[str, Any]:
    return {"index": index, "op": "ADD", "target": target, "blocker": blocker, "certain": not blocker,
            "reason": "because", "reads": reads}  # fmt: skip


def test_a_long_network_shows_ops_of_one_fate_as_one_box() -> None:
    ops = [drawn_op(i, "edgetpu", [i - 1] if i else []) for i in range(30)]
    ops += [drawn_op(30, "cpu", [29], True), drawn_op(31, "cpu", [30], True)]
    ops += [drawn_op(i, "cpu", [31, i - 1]) for i in range(32, 40)]
    drawn = page.picture(ops)
    assert [box["text"] for box in drawn["boxes"]] == ["0 to 29: 30 ops", "30 ADD", "31 ADD", "32 to 39: 8 ops"]
    assert [box["state"] for box in drawn["boxes"]] == ["good", "bad", "bad", "note"]
    assert "30 ADD: Edge TPU" in drawn["boxes"][0]["title"]
    assert len(drawn["edges"]) == 3
    assert [op["state"] for op in drawn["strip"]] == ["good"] * 30 + ["bad"] * 2 + ["note"] * 8


def test_a_picture_shows_branches_blockers_and_doubt() -> None:
    drawn = page.picture(
        [
            drawn_op(0, "edgetpu", []), drawn_op(1, "edgetpu", [0]), drawn_op(2, "cpu", [0], True),
            drawn_op(3, "cpu", [0, 1, 2]),
        ]
    )  # fmt: skip
    assert [box["state"] for box in drawn["boxes"]] == ["good", "good", "bad", "note"]
    assert [box["sure"] for box in drawn["boxes"]] == [True, True, False, True]
    assert drawn["boxes"][1]["y"] == drawn["boxes"][2]["y"]
    assert len(drawn["edges"]) == 5
    assert sum("C" in edge for edge in drawn["edges"]) == 1  # the one that skips a row
    for box in drawn["boxes"]:
        assert 0 <= box["x"] <= drawn["width"] - drawn["box"]["width"]
        assert 0 <= box["y"] <= drawn["height"] - drawn["box"]["height"]


@pytest.mark.train
@pytest.mark.parametrize("training", ["short", pytest.param("as it is", marks=pytest.mark.slow)])
def test_the_digits_recipe_runs_on_an_edge_tpu(training: str, tmp_path: Path) -> None:
    """Short: a few epochs and no quantization-aware ones; all that follows the training is the same."""
    folder = tmp_path / "digits"
    shutil.copytree(Path(__file__).parents[2] / "examples" / "digits", folder)
    path = folder / "recipe.yaml"
    if training == "short":
        asked = yaml.safe_load(path.read_text())
        asked["train"]["epochs"] = 4
        asked["quantize"] = {"method": "ptq", "representative_samples": 100}
        del asked["gate"]
        path.write_text(yaml.safe_dump(asked))
    result = run_recipe(path, boards=("coral_usb",), out=tmp_path / "work", progress=lambda *_: None)
    assert result.exit_code == 0, result.problems
    told, _ = page_of(result)
    assert told["check"]["on_cpu"] == 0
    assert told["fix"]["after"]["compiles"]
    assert "is not installed" in told["compile_skipped"]
    assert told["device"]["device"] == "cpu"
    assert told["device"]["test_set"]["accuracy"]["total"] > 300
    assert re.fullmatch(r"[0-9a-f]{64}", told["bundle"]["identity"])
