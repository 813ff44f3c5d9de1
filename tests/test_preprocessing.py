"""Preprocessing in C against the host's, byte for byte: every raw value of a byte, edges and random values of others.

A contract is compiled as if it were a model, whose input is raw and whose output is what the model would be fed, so
that the harness of the kernel tests runs it: with guard bytes, under sanitizers on the host, and on an emulated core.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import aot, board, data, golden, preprocessing, project, runtimes, tflite
from pipeline.contract import Contract
from pipeline.errors import DataError, UnsupportedError
from pipeline.model import Array, Export
from pipeline.vectors import Vectors
from tests.kernels.batch import CORTEX_M4, EMULATED, GUARD_BYTES, HOST, Case, Target, build, differing, run
from tests.test_build import plain_pio
from tests.test_cli import small_model
from tests.test_project import GOLDEN, compare_with_golden
from tests.tflite_builder import TfliteBuilder

# Where products and sums are fused wherever the compiler may, unlike in the projects' own builds.
FUSING = replace(CORTEX_M4, name="cortex-m4-fusing", compiler=(*CORTEX_M4.compiler, "-ffp-contract=fast"))
TARGETS = [pytest.param(HOST, id="host"), pytest.param(FUSING, id="cortex-m4", marks=pytest.mark.emulated)] + [
    pytest.param(target, id=target.name, marks=[pytest.mark.emulated, pytest.mark.slow])
    for target in EMULATED
    if target is not CORTEX_M4
]


def f32(*values: float) -> tuple[float, ...]:
    return tuple(float(np.float32(value)) for value in values)


@dataclass(frozen=True, eq=False)
class Bench:
    """A contract for a model input: shape, dtype, scale and zero point; raw: [samples, ...]."""

    name: str
    contract: Contract
    shape: tuple[int, ...]
    raw: Array
    dtype: str = "int8"
    scale: float = 0.0
    zero_point: int = 0

    def export(self, labels: tuple[str, ...] = ()) -> Export:
        model = TfliteBuilder()
        quantized = {"scale": self.scale, "zero_point": self.zero_point} if self.scale else {}
        x, y = (add(self.shape, dtype=self.dtype, **quantized) for add in (model.input, model.output))
        model.op("RESHAPE", [x, -1], [y])
        graph = tflite.parse(model.build(), Path(f"{self.name}.tflite"))
        return preprocessing.attach(aot.export(graph), self.contract, labels)

    def case(self) -> Case:
        model = TfliteBuilder()
        x, y = (add(self.shape, dtype=self.dtype, scale=0.5) for add in (model.input, model.output))
        model.op("RESHAPE", [x, -1], [y])
        return Case(self.name, model.build(), tuple((sample,) for sample in self.raw))

    def expected(self) -> list[tuple[bytes, ...]]:
        codes = data.quantized(self.contract.real(self.raw), self.export().model.inputs[0])
        return [(sample.tobytes(),) for sample in codes]


def bytes_in_every_channel(shape: tuple[int, ...], first: bool = False) -> Array:
    """Samples that together hold each raw byte in each channel: uint8 [256, ...]."""
    values = np.arange(256)[:, np.newaxis] + 37 * np.arange(int(np.prod(shape)))
    raw = (values % 256).astype(np.uint8).reshape(256, *shape)
    return np.ascontiguousarray(np.moveaxis(raw, -1, 1)) if first else raw


def reals(scale: float, zero_point: int, contract: Contract, channels: int) -> Array:
    """Raw reals whose codes are ties, neighbours of ties, ends of the range, huge, tiny: [1, samples, channels]."""
    random = np.random.default_rng(5)
    halves = (np.arange(-140, 140) + 0.5) * scale
    real = np.concatenate([halves, random.normal(0, 70 * scale, 2000), [0.0, 1e-45, -1e-38, 3e38, -3e38]])
    raw = (real[:, np.newaxis] - np.resize(contract.offset, channels)) / np.resize(contract.scale, channels)
    raw = raw.clip(-3e38, 3e38).astype(np.float32)
    beside = [np.nextafter(raw, np.float32(side)) for side in (-np.inf, np.inf)]
    return np.concatenate([raw, *beside, np.full((1, channels), np.inf, np.float32)])[np.newaxis]


def benches() -> list[Bench]:
    image, vector = (1, 4, 4, 3), (1, 12)
    thirds = Contract("uint8", f32(1 / 58.4, 1 / 57.1, 1 / 57.4), f32(-2.1179, -2.0357, -1.8044))
    sound = Contract("int16", f32(1 / 32768))
    sensors = Contract("float32", f32(0.37, 1 / 9.81, 1e-3), f32(0.1, -3.3, 7e-4))
    made = [
        Bench("bytes_to_unit", Contract("uint8", f32(1 / 255)), image, bytes_in_every_channel(image[1:]),
              scale=1 / 255, zero_point=-128),
        Bench("bytes_by_channel", thirds, image, bytes_in_every_channel(image[1:]), scale=0.0186, zero_point=-14),
        Bench("bytes_to_uint8", thirds, image, bytes_in_every_channel(image[1:]), "uint8", 0.0186, 114),
        Bench("bytes_to_int16", thirds, image, bytes_in_every_channel(image[1:]), "int16", 7e-5),
        Bench("bytes_to_float", thirds, image, bytes_in_every_channel(image[1:]), "float32"),
        Bench("bytes_first", replace(thirds, layout="channels_first"), image,
              bytes_in_every_channel(image[1:], first=True), scale=0.0186, zero_point=-14),
        Bench("bytes_first_alike", Contract("uint8", f32(1 / 128), (-1.0,), "channels_first"), image,
              bytes_in_every_channel(image[1:], first=True), scale=0.01, zero_point=3),
        Bench("bytes_of_many", Contract("uint8", f32(*(0.01 * i for i in range(1, 13)))), vector,
              bytes_in_every_channel(vector[1:]), scale=0.02, zero_point=5),
        Bench("sound_all", sound, (1, 8192), np.arange(-32768, 32768).astype(np.int16).reshape(8, 8192),
              scale=1 / 100, zero_point=1),
        Bench("sound_float", sound, (1, 8192), np.arange(-32768, 32768).astype(np.int16).reshape(8, 8192), "float32"),
    ]  # fmt: skip
    for dtype, zero_point in (("int8", -7), ("uint8", 200), ("int16", 0)):
        raw = reals(0.043, zero_point, sensors, 3)
        made.append(Bench(f"sensors_{dtype}", sensors, (1, *raw.shape[1:]), raw, dtype, 0.043, zero_point))
    return made


def sources(chosen: list[Bench]) -> dict[str, bytes]:
    """The C of all contracts, and a struct tflash_model around each."""
    files: dict[str, bytes] = {}
    symbols = []
    for bench in chosen:
        export, case = bench.export(), bench.case()
        assert export.contract is not None
        kept = {export.header, export.contract.path, f"{bench.name}_contract.c"}
        files |= {p: c for p, c in export.files.items() if p in kept or p.startswith("kernels/")}
        output = case.graph().tensor(0)
        files[f"{bench.name}_bench.c"] = f"""
#include "batch.h"
#include "{export.contract.path}"
static _Alignas(16) uint8_t in[{2 * GUARD_BYTES + bench.raw[0].nbytes}];
static _Alignas(16) uint8_t out[{2 * GUARD_BYTES + output.bytes}];
static const struct tflash_tensor input = {{.name = "raw", .bytes = {bench.raw[0].nbytes}u}};
static const struct tflash_tensor output = {{.name = "input", .bytes = {output.bytes}u}};
static int init(void) {{ return TFLASH_OK; }}
static void *get_input(uint8_t i) {{ (void)i; return in + GUARD_BYTES; }}
static const void *get_output(uint8_t i) {{ (void)i; return out + GUARD_BYTES; }}
static int invoke(void) {{
  {bench.name}_preprocess((void *)(in + GUARD_BYTES), (void *)(out + GUARD_BYTES));
  return TFLASH_OK;
}}
const struct tflash_model {export.symbol} = {{
  .name = "{bench.name}", .layer_count = 1, .input_count = 1, .output_count = 1, .inputs = &input, .outputs = &output,
  .init = init, .invoke = invoke, .input = get_input, .output = get_output}};
""".encode()
        symbols.append(export.symbol)
    externs = "".join(f"extern const struct tflash_model {symbol};\n" for symbol in symbols)
    table = ", ".join(f"&{symbol}" for symbol in symbols)
    files["batch.h"] = (
        f'#include "model.h"\n#define GUARD_BYTES {GUARD_BYTES}\n{externs}'
        "extern const struct tflash_model *const batch[];\nextern const uint32_t batch_size;\n"
        "extern const uint8_t guard_bytes[];\n"
    ).encode()
    files["batch.c"] = (
        f'#include "batch.h"\nconst struct tflash_model *const batch[] = {{{table}}};\n'
        f"const uint32_t batch_size = {len(symbols)};\n"
        f"const uint8_t guard_bytes[] = {{{', '.join([str(GUARD_BYTES)] * len(symbols))}}};\n"
    ).encode()
    return files


@pytest.mark.parametrize("target", TARGETS)
def test_the_device_makes_the_same_codes_of_raw_values_as_the_host(target: Target, tmp_path: Path) -> None:
    chosen = benches()
    cases = [bench.case() for bench in chosen]
    answers = run(build(sources(chosen), target, tmp_path), cases, target, tmp_path)
    assert differing(cases, [bench.expected() for bench in chosen], answers) == []
    assert sum(len(bench.raw) for bench in chosen) > 1500


@pytest.mark.emulated
def test_a_product_that_is_fused_with_its_sum_would_be_noticed(tmp_path: Path) -> None:
    chosen = [bench for bench in benches() if bench.name.startswith(("sensors", "bytes_to_float"))]
    files, kernel = sources(chosen), "kernels/preprocess_affine.c"
    assert b"const volatile float" in files[kernel]
    files[kernel] = files[kernel].replace(b"const volatile float", b"const float")
    cases = [bench.case() for bench in chosen]
    answers = run(build(files, FUSING, tmp_path), cases, FUSING, tmp_path)
    assert differing(cases, [bench.expected() for bench in chosen], answers)


def test_what_is_not_a_number_becomes_the_zero_point(tmp_path: Path) -> None:
    raw = np.array([[np.nan, np.inf, -np.inf, 0.0]], np.float32)
    bench = Bench("strange", Contract("float32", (2.0,)), (1, 4), raw, scale=0.5, zero_point=9)
    [[(answer,)]] = run(build(sources([bench]), HOST, tmp_path), [bench.case()], HOST, tmp_path)
    assert np.frombuffer(answer, np.int8).tolist() == [9, 127, -128, 9]


def test_the_contract_in_c_is_the_golden_one() -> None:
    image = np.zeros((1, 1, 2, 2, 3), np.uint8)
    scale, offset = f32(1 / 58.4, 1 / 57.1, 1 / 57.4), f32(-2.1, -2.0, -1.8)
    camera = Bench("camera", Contract("uint8", scale, offset, "channels_first"), (1, 2, 2, 3), image, scale=0.5)
    sound = Bench("sound", Contract("int16", f32(1 / 32768)), (1, 4), np.zeros((1, 4), np.int16), "float32")
    words = ("one", 'quote"', "back\\slash", "\u00fc?")
    found = {
        path: content
        for bench, names in ((camera, tuple(f"pixel {i}" for i in range(12))), (sound, words))
        for path, content in bench.export(names).files.items()
        if "_contract." in path
    }
    compare_with_golden(GOLDEN.parent / "contract", found)


@pytest.mark.golden
@pytest.mark.emulated
@pytest.mark.parametrize(("name", "raw"), [("native", "int16"), ("qemu_cortex_m4", "uint8")])
def test_the_application_of_a_project_preprocesses_and_names_the_class(name: str, raw: str, tmp_path: Path) -> None:
    (tmp_path / "small.tflite").write_bytes(small_model().build())
    graph, target = tflite.read(tmp_path / "small.tflite"), board.load(name)
    contract = Contract(raw, f32(0.5), f32(9, -20, 3.3, 0))
    labels = ('a "left" one', "middle", "right")
    export = preprocessing.attach(runtimes.export(graph, target, "aot"), contract, labels)
    zeros = data.quantized(contract.real(np.zeros((1, 4), raw)), export.model.inputs[0])
    answers = golden.compute(export.model, Vectors((zeros,), "zeros"), ())
    project.render(export, target, tmp_path / "out")
    ran = plain_pio(tmp_path / "out", "-t", "upload", home=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "warning" not in ran.stderr
    assert f"\ntop-1: {labels[int(answers.outputs[0].argmax())]}\n" in ran.stdout


def test_an_export_without_contract_and_labels_stays_as_it_is() -> None:
    export = replace(benches()[0].export(), contract=None)
    assert preprocessing.attach(export, None, ()) is export


def test_equal_channels_share_a_table() -> None:
    shape = (1, 2, 2, 3)
    contract = Contract("uint8", f32(0.5, 0.25, 0.5))
    code = Bench("shared", contract, shape, bytes_in_every_channel(shape[1:]), scale=1.0).export()
    text = code.files["shared_contract.c"].decode()
    assert text.count("static const uint8_t table_") == 2 and "{table_1, table_0, table_1}" in text


def test_a_contract_for_another_number_of_channels_is_refused() -> None:
    bench = Bench("two", Contract("uint8", f32(1, 2)), (1, 4), np.zeros((1, 4), np.uint8), scale=1.0)
    with pytest.raises(DataError, match=r"input t0: 4 channels in the last axis; .* has values for 2"):
        bench.export()


def test_another_number_of_labels_than_classes_is_refused() -> None:
    with pytest.raises(DataError, match="the recipe has 3 labels; the output t1 of bytes_to_unit has 48 elements"):
        benches()[0].export(("a", "b", "c"))


def test_a_model_with_two_inputs_takes_no_contract() -> None:
    model = TfliteBuilder()
    inputs = [model.input((1, 4), scale=0.5), model.input((1, 4), scale=0.5)]
    model.op("ADD", inputs, [model.output((1, 4), scale=0.5)])
    export = aot.export(tflite.parse(model.build(), Path("two.tflite")))
    with pytest.raises(UnsupportedError, match="its inputs are int8"):
        preprocessing.attach(export, Contract("uint8"), ())
