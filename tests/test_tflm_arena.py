"""The arena that a target measures itself: with a library that stands in for TFLM, on an emulated core."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline import board, interpreters, tflite, tflm, tflm_arena, tflm_library, tools
from pipeline.device_tests.bench import Bench, Request
from pipeline.errors import DeviceError, ToolError
from pipeline.model import Export
from pipeline.rig import Place
from pipeline.run import run_recipe
from pipeline.workspace import Workspace
from tests.tflite_builder import TfliteBuilder
from tests.tiny_recipe import report

LIBRARY = Path(__file__).with_name("tflm_stand_in")
TAKEN_BYTES = 5000  # as in its micro_interpreter.h
BOARD = board.load("qemu_cortex_m4")


def exported(folder: Path, monkeypatch: pytest.MonkeyPatch, host_bytes: int) -> Export:
    """One FULLY_CONNECTED for the stand-in, of which a host has measured an arena of host_bytes."""
    size = interpreters.ArenaSize(host_bytes, host_bytes + 512, "tflite-micro", "1.2.3")
    monkeypatch.setattr(interpreters, "tflm_arena", lambda model, inputs: size)
    builder = TfliteBuilder()
    x, y = builder.input((1, 4), scale=0.1), builder.output((1, 3), scale=0.3)
    weights = builder.constant(np.ones((3, 4), np.int8), scale=0.5)
    builder.op("FULLY_CONNECTED", [x, weights, -1], [y])
    (folder / "net.tflite").write_bytes(builder.build())
    return tflm.export(tflite.read(folder / "net.tflite"), BOARD, tflm_library.choose(BOARD, str(LIBRARY)))


def require_cpp() -> None:
    """1.5 GB that only the tflm runtime needs are not part of the set-up."""
    try:
        tools.find_cpp_library("arm-none-eabi-gcc")
    except ToolError as error:
        pytest.skip(error.message)


def measure(export: Export, folder: Path) -> tuple[Export, list[str]]:
    stages: list[str] = []
    with Workspace(folder / "work") as workspace:
        found, step = tflm_arena.measure(workspace, export, BOARD, lambda stage, done, total: stages.append(stage))
    assert (step.stage, step.reused) == ("arena-qemu_cortex_m4", not stages)
    return found, stages


@pytest.mark.emulated
def test_the_target_says_how_much_it_takes_and_the_constant_is_written_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_cpp()
    export = exported(tmp_path, monkeypatch, 3000)  # too little: an optimized kernel wants more than the host's
    found, stages = measure(export, tmp_path)
    # 5256 bytes do not suffice to start with, so the margin was doubled.
    assert found.arena_bytes == 5520 == (TAKEN_BYTES + 2 * tflm_arena.MARGIN_BYTES + 15) // 16 * 16
    header = found.files["net_arena.h"].decode()
    assert "#define NET_ARENA_BYTES 5520u" in header
    assert "Measured on qemu_cortex_m4: TFLM takes 5000 bytes there; the margin is 520 bytes." in header
    assert found.notes[-1] in header
    assert {path for path in export.files if export.files[path] != found.files[path]} == {"net_arena.h"}
    again, repeated = measure(export, tmp_path)
    assert (again, stages, repeated) == (found, ["arena"], [])


@pytest.mark.emulated
@pytest.mark.golden
@pytest.mark.slow
def test_the_device_tests_measure_it_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_cpp()
    monkeypatch.setenv(tflm_library.VARIABLE, str(LIBRARY))
    exported(tmp_path, monkeypatch, 3000)
    request = Request(tmp_path / "net.tflite", "tflm", None, 1, 0, False)
    assert Bench.build(Place("here", BOARD), request, tmp_path / "work").export.arena_bytes == 5520


@pytest.mark.emulated
@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 0], ids=["with its layers", "by a library that shows none"])
def test_a_run_has_the_measurement_among_its_stages_and_its_notes(
    layers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_cpp()
    exported(tmp_path, monkeypatch, 3000)
    library = tmp_path / "library"
    shutil.copytree(LIBRARY, library)
    if not layers:
        header = library / "src/tensorflow/lite/micro/micro_interpreter.h"
        header.write_text(header.read_text().replace("preserve_all_tensors", ""))
    (tmp_path / "recipe.yaml").write_text(
        f"name: net\nmodel: {{tflite: net.tflite}}\ntargets: [{{board: {BOARD.id}, runtime: tflm}}]\n"
        f"verify: {{samples: 1}}\ntflm: {{library: {library}}}\n"
    )
    work = tmp_path / "work"
    found = run_recipe(tmp_path / "recipe.yaml", out=work, progress=lambda stage, done, total: None).as_json()
    assert [stage["stage"] for stage in found["stages"]][-3:] == [
        f"arena-{BOARD.id}", f"firmware-{BOARD.id}-tflm", f"verify-{BOARD.id}-tflm",
    ]  # fmt: skip
    assert set(found["timing"]) == {stage["stage"] for stage in found["stages"]}
    (target,) = report(work)["targets"]
    assert len(target["layers"]) == layers
    assert found["targets"][0]["verify"]["notes"] == target["verify"]["notes"]
    assert "Measured on qemu_cortex_m4: TFLM takes 5000 bytes there" in target["verify"]["notes"][-1]


@pytest.mark.emulated
def test_a_model_that_never_starts_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_cpp()
    monkeypatch.setattr(tflm_arena, "_ample", lambda export, board: 4000)
    with pytest.raises(DeviceError, match="the model could not be made ready on the device"):
        measure(exported(tmp_path, monkeypatch, 3000), tmp_path)


@pytest.mark.parametrize(("name", "host_bytes", "ample"), [
    ("qemu_cortex_m4", 3000, 14_192), ("nucleo_f446re", 60_000, 120_832), ("nucleo_f446re", 200_000, 200_000),
])  # fmt: skip
def test_an_ample_arena_is_twice_the_hosts_or_what_the_board_has(
    name: str, host_bytes: int, ample: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = exported(tmp_path, monkeypatch, host_bytes)
    assert tflm_arena._ample(export, board.load(name)) == ample
