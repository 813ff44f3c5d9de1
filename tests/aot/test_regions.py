"""Two arenas: networks that lie in fast RAM and in slow RAM give the bytes of TFLM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.aot import Core, export
from pipeline.build import section_bytes
from pipeline.verification import verify_model
from tests.benchmark_models import resnet_8
from tests.kernels.batch import HOST, case_count, check_many
from tests.kernels.test_networks import network_case

BOARD = Path(__file__).parents[1] / "boards" / "qemu_two_rams.toml"


@pytest.mark.golden
def test_networks_in_two_arenas_give_the_bytes_of_tflm(tmp_path: Path) -> None:
    core = Core(fast_ram_bytes=256)
    cases = [network_case(number) for number in range(case_count(4, 200))]
    arenas = [export(case.graph(), core).arenas for case in cases]
    assert any(found["ram"] and found["fast_ram"] for found in arenas)
    assert all(found["fast_ram"] <= 256 for found in arenas)
    check_many(cases, replace(HOST, name="host-two-arenas", core=core), tmp_path, guard_bytes=0)


def test_without_fast_ram_the_c_has_one_arena() -> None:
    graph = network_case(0).graph()
    code = export(graph).files[f"{graph.name}.c"].decode()
    assert "fast" not in code
    two = export(graph, Core(fast_ram_bytes=64))
    assert "fast_arena[" in two.files[f"{graph.name}.c"].decode()
    assert two.arenas["fast_ram"] <= 64


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.slow
def test_a_board_with_two_rams_is_exact_and_has_both_in_use(tmp_path: Path) -> None:
    model = tmp_path / "resnet8.tflite"
    model.write_bytes(resnet_8())
    found = verify_model(
        model, board=str(BOARD), runtime="aot", samples=3, seed=0, inputs=None, golden_file=None, transport="fast",
        out=tmp_path / "out", progress=lambda *_: None,
    )  # fmt: skip
    assert (found["mismatched_bytes"], found["layer_mismatches"], found["layers_compared"]) == (0, 0, 16)
    assert 2048 < found["arenas"]["fast_ram"] <= 4096 < found["arenas"]["ram"]
    assert sum(found["arenas"].values()) == found["arena_bytes"] <= found["model_ram_bytes"]
    (elf,) = tmp_path.glob("out/firmware-*/images/release.elf")
    assert section_bytes(elf)[".fast_ram"] == (found["arenas"]["fast_ram"], False, True)
