"""Compiled packages are read without the hardware, and damaged ones are refused."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import tflite
from pipeline.edgetpu import inspection, package
from pipeline.edgetpu.flatbuffer import Damaged, flex_bytes
from pipeline.edgetpu.package import CompiledModel
from pipeline.errors import ModelError
from tests.edgetpu import ground_truth
from tests.edgetpu.mixed_versions import mixed_versions
from tests.edgetpu.mutation import mutated
from tests.edgetpu.package_builder import CACHED, ExecutableSpec, LayerSpec, compiled_model, options
from tests.endless import many_packages

FULL = bool(os.environ.get("TENSORFLASH_FULL"))
INPUTS = 1_000_000 if FULL else 5_000

# What the compiled files of the zoo hold, noted when their layout was first understood; sizes in bytes. Cached and
# streamed parameters, instructions, ops on the CPU, minimum runtime version.
KNOWN = {
    "deeplabv3_mnv2_dm05_pascal_quant_edgetpu": (766_720, 0, 160_672, 8, 12),
    "mobilenet_v1_0.25_128_quant_edgetpu": (566_912, 0, 170_032, 0, 12),
    "mobilenet_v1_0.75_192_quant_edgetpu": (2_777_600, 0, 195_280, 0, 12),
    "movenet_single_pose_lightning_ptq_edgetpu": (2_862_656, 2_368, 133_408, 59, 12),
    "posenet_mobilenet_v1_075_353_481_16_quant_decoder_edgetpu": (1_444_608, 0, 118_368, 1, 12),
    "split_concat_edgetpu": (192, 0, 23_648, 0, 13),
}


def parse(content: bytes) -> CompiledModel:
    return package.parse(content, tflite.parse(content, Path("model_edgetpu.tflite")))


def test_a_package_shows_its_memory_its_layers_and_its_runtime() -> None:
    found = inspection.inspect(parse(compiled_model(with_cpu_op=True)))
    assert found["minimum_runtime_version"] == 13
    assert found["chip"] == ["beagle"]
    assert found["on_cpu"] == [{"index": 1, "op": "ARG_MAX", "version": 1}]
    assert found["totals"] == {
        "cached_parameter_bytes": 4096,
        "streamed_parameter_bytes": 0,
        "instruction_bytes": 2000,
        "scratch_bytes": 0,
        "input_bytes": 192,
        "output_bytes": 10,
        "moved_bytes_per_inference": 2202,
    }
    assert found["transfer_at_least_ms"]["usb2"] == pytest.approx(2202 / 60e6 * 1e3)
    (only,) = found["packages"]
    assert only["compiler"] == "cl/343520747"
    assert only["inputs"][0] == {
        "name": "input", "shape": [8, 8, 3], "dtype": "uint8", "bytes": 192, "scale": 0.0078125, "zero_point": 128,
    }  # fmt: skip


def test_a_stand_alone_package_streams_its_parameters() -> None:
    found = inspection.inspect(parse(compiled_model(options([ExecutableSpec(parameters=5000)]))))
    assert found["totals"]["cached_parameter_bytes"] == 0
    assert found["totals"]["streamed_parameter_bytes"] == 5000
    assert any("streamed" in note for note in found["notes"])


def test_a_signed_zero_point_is_shown_as_the_model_has_it() -> None:
    layer = LayerSpec(data_type=8, zero_point=107)
    found = inspection.inspect(parse(compiled_model(options([ExecutableSpec(inputs=(layer,))]))))
    assert found["packages"][0]["inputs"][0] | {"name": ""} == {
        "name": "", "shape": [8, 8, 3], "dtype": "int8", "bytes": 192, "scale": 0.0078125, "zero_point": -21,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("specs", "reason"),
    [
        ((ExecutableSpec(inputs=(LayerSpec(), LayerSpec("second"))),), "2 inputs"),
        ((ExecutableSpec(scratch=4096),), "4,096 bytes of scratch"),
        ((ExecutableSpec(deterministic=False),), "transfers is not fixed"),
    ],
)
def test_what_the_dev_board_micro_cannot_run_is_said(specs: tuple[ExecutableSpec, ...], reason: str) -> None:
    micro = inspection.inspect(parse(compiled_model(options(specs))))["dev_board_micro"]
    assert not micro["runs"]
    assert reason in micro["reasons"][0]
    assert inspection.inspect(parse(compiled_model()))["dev_board_micro"] == {"runs": True, "reasons": []}


def test_a_model_that_is_not_compiled_is_told_from_one_that_is() -> None:
    with pytest.raises(ModelError, match="nothing in it is compiled") as error:
        parse(mixed_versions())
    assert "edgetpu compile" in str(error.value.hint)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "too short"),
        (b"\x00" * 64, "not a FlexBuffer map"),
        (options([]), "no executable that computes"),
        (options([CACHED[1]]), "no executable that computes"),
        (options([ExecutableSpec()] * 65), "64 are the most"),
        (options([ExecutableSpec(kind=7)]), "kind 7"),
        (options([ExecutableSpec(scratch=-1)]), "-1 bytes of scratch"),
        (options([ExecutableSpec(inputs=(LayerSpec(size_bytes=191),))]), "8 x 8 x 3 elements in 191 bytes"),
        (options([ExecutableSpec(inputs=(LayerSpec(data_type=77),))]), "data type 77"),
        (options(CACHED, runtime_version=-4), "runtime version -4"),
        (options(CACHED).replace(b"DWN1", b"DWN2"), "not DWN1"),
        (options(CACHED)[:-40], "damaged"),
    ],
)
def test_a_damaged_package_is_refused_by_what_is_wrong(content: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        parse(compiled_model(content))
    assert error.value.hint


def test_a_map_without_the_key_is_refused() -> None:
    with pytest.raises(Damaged, match="under the key '7'"):
        flex_bytes(options(CACHED), b"7")
    with pytest.raises(Damaged, match="under the key '5'"):  # there, but a number
        flex_bytes(options(CACHED), b"5")
    with pytest.raises(Damaged):
        flex_bytes(b"4" * 200 + options(CACHED)[-60:], b"4")


def test_a_small_file_that_would_be_read_forever_is_refused() -> None:
    with pytest.raises(ModelError, match="2,000 packages that lie in each other"):
        parse(many_packages(options(CACHED)))
    with pytest.raises(ModelError, match="a name of 5,000 bytes"):
        parse(compiled_model(options([ExecutableSpec(inputs=(LayerSpec("n" * 5_000),))])))


class _Hang(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a POSIX timer to notice a hang")
def test_mutated_packages_are_read_or_refused_and_nothing_else() -> None:
    """Small packages with few weights, so that most bytes that change are an offset, a size or a field."""

    def alarm(*_: object) -> None:
        raise _Hang("a thousand packages took more than 20 s of this process")

    small = ExecutableSpec(kind=0, instructions=(8,), parameters=8)
    seeds = [options([small]), options([small, replace(CACHED[1], parameters=16)]), options(CACHED)]
    random = np.random.default_rng(20_261_122)
    read = refused = 0
    before = signal.signal(signal.SIGVTALRM, alarm)
    try:
        for index in range(INPUTS):
            if index % 1000 == 0:
                signal.setitimer(signal.ITIMER_VIRTUAL, 20)
            try:
                package.parse_package(mutated(random, seeds[index % len(seeds)]))
                read += 1
            except Damaged:
                refused += 1
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert read + refused == INPUTS
    assert min(read, refused) > INPUTS // 100, "the mutations are too harmless or too harmful to test anything"


def test_mutated_files_are_described_or_refused_and_nothing_else() -> None:
    """Whole files, as `inspect` gets them; a tenth of the inputs, for they take longer."""
    small = compiled_model(options([ExecutableSpec(instructions=(8,), parameters=8)]), with_cpu_op=True)
    random = np.random.default_rng(20_261_123)
    read = refused = 0
    for _ in range(INPUTS // 10):
        content = mutated(random, small)
        try:
            inspection.inspect(parse(content))
            read += 1
        except ModelError:
            refused += 1
    assert read > 0
    assert refused > 0


@pytest.mark.zoo
def test_all_published_packages_are_read() -> None:
    for path in sorted(ground_truth.folder().glob("*_edgetpu.tflite")):
        found = inspection.inspect(package.read(path))
        totals = found["totals"]
        assert KNOWN[path.stem] == (
            totals["cached_parameter_bytes"], totals["streamed_parameter_bytes"], totals["instruction_bytes"],
            len(found["on_cpu"]), found["minimum_runtime_version"],
        ), path.name  # fmt: skip
        assert found["chip"] == ["beagle"]
        assert all(layer["scale"] > 0 for p in found["packages"] for layer in (*p["inputs"], *p["outputs"]))


@pytest.mark.zoo
def test_layers_of_published_packages_are_those_of_their_models() -> None:
    """The custom op's tensors in the file and its layers in the package: written twice, so they have to agree."""
    for path in sorted(ground_truth.folder().glob("*_edgetpu.tflite")):
        model = package.read(path)
        for found, raw in zip(model.packages, inspection.inspect(model)["packages"], strict=True):
            op = model.graph.ops[found.op_index]
            for indices, layers in ((op.inputs, raw["inputs"]), (op.outputs, raw["outputs"])):
                tensors = [model.graph.tensor(index) for index in indices]
                in_file = sorted((t.elements, t.dtype, np.float32(t.scale), t.zero_point) for t in tensors)
                in_package = sorted(
                    (int(np.prod(la["shape"])), la["dtype"], np.float32(la["scale"]), la["zero_point"]) for la in layers
                )
                assert in_file == in_package, path.name
