"""Verification can fail: whatever is wrong in firmware or on the line is caught, and its layer named."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import aot, board, build, cli, devices, golden, project, tflite, vectors, verification, verify, wire
from pipeline.board import Board
from pipeline.devices.process import ProcessStream
from pipeline.errors import DeviceError
from pipeline.golden import Golden
from pipeline.model import Export, Image, Verdict
from pipeline.project import Project
from pipeline.tflite import Graph
from pipeline.verification import Answers
from pipeline.wire import REPLY, Command, Frame
from tests import mutations
from tests.conftest import FULL
from tests.kernels.batch import FIRMWARE
from tests.tflite_builder import TfliteBuilder

pytestmark = pytest.mark.golden

MUTATIONS = 200 if FULL else 12
SAMPLES = 6

Place = tuple[int, int] | None  # the sample and the op where something first differs
Places = dict[str, Place]


def small_net(pool: str = "AVERAGE_POOL_2D", middle_swapped: bool = False) -> bytes:
    """Ten ops on 8x8x3 codes, with three 1x1 convolutions in a row, the first and the last with equal weights."""
    random = np.random.default_rng(5)
    model = TfliteBuilder()

    def weights(shape: tuple[int, ...], scale: float, axis: int = 0) -> int:
        scales = scale * random.uniform(0.6, 1.4, shape[axis])
        return model.constant(random.integers(-127, 128, shape).astype(np.int8), scale=scales, axis=axis)

    def bias(size: int) -> int:
        return model.constant(random.integers(-3000, 3000, size).astype(np.int32), scale=0.001)

    def layer(size: int, scale: float, zero_point: int) -> int:
        return model.tensor((1, size, size, 8), scale=scale, zero_point=zero_point)

    x = model.input((1, 8, 8, 3), scale=0.05, zero_point=-3)
    wide, b, c, d, e = layer(8, 0.3, -128), layer(4, 0.6, 4), layer(4, 0.7, -9), layer(4, 0.6, 11), layer(4, 0.5, 0)
    total, pooled, flat = layer(4, 0.9, -2), layer(2, 0.9, -2), model.tensor((1, 32), scale=0.9, zero_point=-2)
    logits = model.tensor((1, 6), scale=0.06, zero_point=20)
    y = model.output((1, 6), scale=1 / 256, zero_point=-128)

    unit = {"stride_h": 1, "stride_w": 1}
    model.op("CONV_2D", [x, weights((8, 3, 3, 3), 0.012), bias(8)], [wide], padding="SAME", **unit,
             fused_activation_function="RELU")  # fmt: skip
    model.op("DEPTHWISE_CONV_2D", [wide, weights((1, 3, 3, 8), 0.012, axis=3), bias(8)], [b], padding="SAME",
             stride_h=2, stride_w=2, depth_multiplier=1)  # fmt: skip
    outer = random.integers(-127, 128, (8, 1, 1, 8)).astype(np.int8)
    inner = random.integers(-127, 128, (8, 1, 1, 8)).astype(np.int8)
    values = (inner, outer, outer) if middle_swapped else (outer, inner, outer)
    for source, output, value in zip((b, c, d), (c, d, e), values, strict=True):
        pointwise = model.constant(value, scale=0.004 * random.uniform(0.6, 1.4, 8))
        model.op("CONV_2D", [source, pointwise, bias(8)], [output], padding="VALID", **unit)
    model.op("ADD", [b, e], [total])
    model.op(pool, [total], [pooled], padding="VALID", stride_h=2, stride_w=2, filter_height=2, filter_width=2)
    model.op("RESHAPE", [pooled, model.constant(np.array([1, 32], np.int32))], [flat])
    per_tensor = model.constant(random.integers(-127, 128, (6, 32)).astype(np.int8), scale=0.0005)
    model.op("FULLY_CONNECTED", [flat, per_tensor, bias(6)], [logits])
    model.op("SOFTMAX", [logits], [y], beta=1.0)
    return model.build()


@dataclass(frozen=True, eq=False)
class Proof:
    """A model, and what `tensorflash verify` does with it on one board."""

    content: bytes
    graph: Graph
    board: Board
    export: Export
    golden: Golden
    folder: Path

    def ask(self, images: Mapping[str, Image]) -> Answers:
        return verification.ask(
            self.export, self.board, images, self.golden.vectors, self.golden.layer_samples, "fast", self.folder,
            lambda *_: None,
        )  # fmt: skip

    def compare(self, answers: Answers) -> Verdict:
        return verify.compare(self.golden, answers.samples, answers.traced, self.export.layers, self.graph)

    def verdict(self, images: Mapping[str, Image]) -> Verdict:
        return self.compare(self.ask(images))


def prove(content: bytes, name: str, target: str, samples: int, folder: Path) -> Proof:
    path = folder / f"{name}.tflite"
    path.write_bytes(content)
    graph = tflite.read(path)
    export = aot.export(graph)
    given = vectors.make(export.model, samples, seed=1)
    truth = golden.compute(export.model, given, export.layers, samples)
    return Proof(content, graph, board.load(target), export, truth, folder)


def first_places(proof: Proof, contents: Sequence[bytes]) -> list[Place]:
    """Where each of these models first differs from the right one, as TFLM computes them."""
    right, *others = mutations.tflm_layers([proof.content, *contents], proof.golden.vectors, proof.folder / "tflm")
    return [mutations.first_difference(proof.graph, right, other) for other in others]


def named(verdict: Verdict) -> Place:
    """Where a verdict says that the device first differs."""
    first = verdict.first_divergence
    assert (first is None) == verdict.exact
    return None if first is None else (first.sample, first.op_index)


@dataclass(frozen=True, eq=False)
class Bench:
    """A model's project on one board. On native gcc builds it, elsewhere PlatformIO. images are the right ones."""

    proof: Proof
    project: Project
    images: Mapping[str, Image]
    build: Callable[[], Mapping[str, Image]]

    @property
    def source(self) -> str:
        """Folder of the model's C files."""
        return f"lib/{self.project.name}/src"

    @property
    def constants(self) -> str:
        """Path of the C file with the weights."""
        return f"{self.source}/{self.project.name}_constants.c"

    def text(self, path: str) -> str:
        return (self.project.path / path).read_text()

    def verdict(self, files: Mapping[str, str]) -> Verdict:
        """On the project with other files; they are as before afterwards."""
        with self.changed(files) as images:
            return self.proof.verdict(images)

    @contextmanager
    def changed(self, files: Mapping[str, str]) -> Iterator[Mapping[str, Image]]:
        paths = {self.project.path / path: content for path, content in files.items()}
        before = {path: path.read_text() if path.exists() else None for path in paths}
        try:
            for path, content in paths.items():
                assert content != before[path]
                path.write_text(content)
            yield self.build()
        finally:
            for path, text in before.items():
                if text is None:
                    path.unlink()
                else:
                    path.write_text(text)


def set_up(proof: Proof) -> Bench:
    emitted = project.render(proof.export, proof.board, proof.folder / "project")
    made = proof.folder / "made"
    made.mkdir()
    if proof.board.is_host:
        compiler = mutations.NativeCompiler(made)
        make: Callable[[], Mapping[str, Image]] = functools.partial(compiler.build, emitted.path)
    else:
        make = functools.partial(build.compile_project, emitted, ("verify", "trace"))
    images = {}
    for name, image in make().items():
        kept = proof.folder / f"{name}.elf"
        shutil.copy(image.elf, kept)
        images[name] = replace(image, elf=kept)
    return Bench(proof, emitted, images, make)


# One wrong bit in the weights


def check_mutations(content: bytes, name: str, samples: int, folder: Path) -> None:
    proof = prove(content, name, "native", samples, folder)
    bench = set_up(proof)
    assert proof.verdict(bench.images).exact
    constants = bench.text(bench.constants)
    drawn = mutations.draw(proof.graph, constants, MUTATIONS, seed=7)
    expected = first_places(proof, [mutations.in_tflite(content, mutation) for mutation in drawn])
    wrong = []
    for mutation, place in zip(drawn, expected, strict=True):
        found = named(bench.verdict({bench.constants: mutations.in_c(constants, mutation)}))
        if found != place:
            wrong.append(f"{mutation}: (sample, op) {place} differs first in TFLM, verification says {found}")
    assert not wrong, "\n".join(wrong)
    assert sum(place is not None for place in expected) > MUTATIONS // 2, "most of them have to change something"


def test_every_wrong_bit_in_the_weights_that_changes_a_layer_is_caught_and_the_layer_named(tmp_path: Path) -> None:
    check_mutations(small_net(), "small_net", SAMPLES, tmp_path)


@pytest.mark.zoo
@pytest.mark.slow
def test_every_wrong_bit_in_a_published_model_that_changes_a_layer_is_caught_and_the_layer_named(
    model_zoo: Path, tmp_path: Path
) -> None:
    content = (model_zoo / "mlperf_tiny" / "kws_ref_model.tflite").read_bytes()
    check_mutations(content, "kws_ref_model", 3, tmp_path)


def test_a_wrong_bit_that_changes_nothing_passes(tmp_path: Path) -> None:
    """A weight of a channel that its activation holds at zero; TFLM is asked as well."""
    model = TfliteBuilder()
    x = model.input((1, 4), scale=0.5, zero_point=0)
    y, z = model.tensor((1, 2), scale=0.5, zero_point=-128), model.output((1, 2), scale=0.5, zero_point=-128)
    weights = model.constant(np.full((2, 4), 64, np.int8), scale=0.01)
    bias = model.constant(np.array([-1_000_000, 0], np.int32), scale=0.005)
    model.op("FULLY_CONNECTED", [x, weights, bias], [y], fused_activation_function="RELU")
    model.op("RELU", [y], [z])
    proof = prove(model.build(), "half_dead", "native", 3, tmp_path)
    bench = set_up(proof)
    constants = bench.text(bench.constants)
    dead, alive = (mutations.Mutation("half_dead_t2_weights", element, 6, (weights,)) for element in (0, 4))
    contents = [mutations.in_tflite(proof.content, mutation) for mutation in (dead, alive)]
    assert first_places(proof, contents) == [None, (0, 0)]
    verdicts = [bench.verdict({bench.constants: mutations.in_c(constants, mutation)}) for mutation in (dead, alive)]
    assert [named(verdict) for verdict in verdicts] == [None, (0, 0)]


# Wrong firmware and a wrong line


# The most significant bit of a weight that two layers share.
FLIPPED = mutations.Mutation("small_net_t3_weights", 9, 7, (15, 19))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    return prove(small_net(), "small_net", "native", SAMPLES, tmp_path_factory.mktemp("small_net"))


@pytest.fixture(scope="module")
def places(small: Proof) -> Places:
    assert FLIPPED.tensors == (small.graph.ops[2].inputs[1], small.graph.ops[4].inputs[1])
    wrong = {
        "bit": mutations.in_tflite(small.content, FLIPPED),
        "pool": small_net("MAX_POOL_2D"),
        "swap": small_net(middle_swapped=True),
    }
    return dict(zip(wrong, first_places(small, list(wrong.values())), strict=True))


@pytest.fixture(scope="module", params=["native", pytest.param("qemu_cortex_m4", marks=pytest.mark.emulated)])
def bench(
    request: pytest.FixtureRequest,
    small: Proof,
    places: Places,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bench:
    folder = tmp_path_factory.mktemp(request.param)
    proof = replace(small, board=board.load(request.param), folder=folder)
    return set_up(proof)


def test_right_firmware_passes(bench: Bench) -> None:
    verdict = bench.proof.verdict(bench.images)
    assert verdict.exact
    assert (verdict.samples, verdict.layer_samples, verdict.layers_compared) == (SAMPLES, SAMPLES, 10)


def test_a_wrong_bit_in_weights_that_two_layers_share_is_caught(bench: Bench, places: Places) -> None:
    verdict = bench.verdict({bench.constants: mutations.in_c(bench.text(bench.constants), FLIPPED)})
    assert named(verdict) == places["bit"] == (0, 2)


def test_rounding_once_instead_of_twice_is_caught(bench: Bench) -> None:
    twice = "return (((product + (product >> 31)) >> (-1 - shift)) + 1) >> 1;"
    once = "return (int32_t)(((int64_t)value * multiplier + (INT64_C(1) << (30 - shift))) >> (31 - shift));"
    path = f"{bench.source}/kernels/requant.h"
    text = bench.text(path)
    assert text.count(twice) == 1, f"{path} no longer says {twice}"
    verdict = bench.verdict({path: text.replace(twice, once)})
    first = verdict.first_divergence
    assert first is not None and not verdict.exact
    assert first.op in ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "FULLY_CONNECTED")
    assert abs(first.expected - first.actual) == 1


def test_a_maximum_pool_in_place_of_an_average_pool_is_caught(bench: Bench, places: Places) -> None:
    code = f"{bench.source}/small_net.c"
    files = {code: bench.text(code).replace("average_pool", "max_pool")}
    for name in ("max_pool_2d_s8.c", "max_pool_2d_s8.h"):
        files[f"{bench.source}/kernels/{name}"] = (FIRMWARE / "kernels" / name).read_text()
    assert named(bench.verdict(files)) == places["pool"] == (0, 6)


def test_the_weights_of_two_layers_swapped_are_caught(bench: Bench, places: Places) -> None:
    path = f"{bench.source}/small_net.c"
    text = bench.text(path)
    first, second = "= small_net_t3_weights,", "= small_net_t4_weights,"
    # Layer 4 has the weights of layer 2 as well: only the first two mentions change places.
    assert text.index(first) < text.index(second) < text.rindex(first)
    swapped = text.replace(second, "= other,").replace(first, second, 1).replace("= other,", first)
    assert named(bench.verdict({path: swapped})) == places["swap"] == (0, 2)


@dataclass
class Line:
    """A device's byte stream that damages one frame: number `number` of that type, over all devices, repeats left out.

    A lying one makes the frame's CRC right again. seen holds type and sequence number of all whole frames, requests
    and replies; hit is the sequence number of the damaged one.
    """

    damaged: int | None = None
    number: int = 0
    lying: bool = False

    def __post_init__(self) -> None:
        self.seen: list[tuple[int, int]] = []
        self.hit: int | None = None

    def between(self, stream: ProcessStream) -> _Between:
        return _Between(self, stream)

    def count(self, kind: int) -> int:
        """Frames of a type, each once however often a slow machine makes the host ask."""
        return len({sequence for seen, sequence in self.seen if seen == kind})

    def pass_on(self, block: bytes) -> bytes:
        frame = wire.decode(block)
        if frame is None:
            return block
        self.seen.append((frame.type, frame.sequence))
        if frame.type != self.damaged or self.hit is not None or self.count(frame.type) <= self.number:
            return block
        self.hit = frame.sequence
        payload = frame.payload[:-1] + bytes([frame.payload[-1] ^ 0x80])
        told = wire.encode(Frame(frame.type, frame.sequence, payload, frame.status))[1:-1]
        if self.lying:
            return told
        content, right = wire.cobs_decode(told), wire.cobs_decode(block)
        assert content is not None and right is not None
        return wire.cobs_encode(content[: -wire.CRC.size] + right[-wire.CRC.size :])


class _Between:
    def __init__(self, line: Line, stream: ProcessStream) -> None:
        self._line, self._stream = line, stream
        self._received = b""

    def write(self, data: bytes) -> None:
        self._stream.write(b"\0".join(self._line.pass_on(block) for block in data.split(b"\0")))

    def read(self, most: int, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        while True:
            data = self._stream.read(most, max(0.0, deadline - time.monotonic()))
            blocks, delimiter, rest = (self._received + data).rpartition(b"\0")
            self._received = rest
            if delimiter or not data:
                return b"\0".join(self._line.pass_on(block) for block in blocks.split(b"\0")) + delimiter

    def close(self) -> None:
        self._stream.close()


def through(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """All devices are at the other end of this line."""
    start = devices._start
    monkeypatch.setattr(devices, "_start", lambda *args, **kwargs: line.between(start(*args, **kwargs)))


# A reply with an answer, one with a layer, and a request with an input of the first sample that is traced.
DAMAGED = [(REPLY | Command.READ_OUTPUT, 2), (REPLY | Command.READ_LAYER, 4), (Command.WRITE_INPUT, SAMPLES)]


@pytest.mark.parametrize(("damaged", "number"), DAMAGED, ids=["output", "layer", "input"])
def test_a_damaged_frame_is_noticed_by_its_crc_and_sent_again(
    damaged: int, number: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(damaged, number)
    through(line, monkeypatch)
    assert bench.proof.verdict(bench.images).exact
    assert line.hit is not None
    assert line.seen.count((damaged & ~REPLY, line.hit)) > 1


def test_a_device_that_lies_about_an_answer_is_caught(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    through(Line(REPLY | Command.READ_OUTPUT, 2, lying=True), monkeypatch)
    verdict = bench.proof.verdict(bench.images)
    assert (verdict.mismatched_samples, verdict.mismatched_bytes, verdict.layer_mismatches) == (1, 1, 0)
    assert named(verdict) == (2, 9)


def test_a_device_that_lies_about_a_layer_is_caught(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    through(Line(REPLY | Command.READ_LAYER, 4, lying=True), monkeypatch)
    verdict = bench.proof.verdict(bench.images)
    assert (verdict.mismatched_samples, verdict.layer_mismatches, verdict.max_abs_diff) == (0, 1, 0.0)
    # The first layer is 512 bytes, two replies; the others come in one: reply 4 is the fourth layer's.
    assert named(verdict) == (0, 3)


def test_a_device_that_computed_another_input_is_caught(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    through(Line(Command.WRITE_INPUT, SAMPLES, lying=True), monkeypatch)
    assert named(bench.proof.verdict(bench.images)) == (0, 0)


def test_another_model_on_the_device_is_an_error_before_the_first_sample(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = bench.proof.graph
    content = mutations.in_tflite(bench.proof.content, mutations.Mutation("", 0, 0, (graph.ops[0].inputs[1],)))
    other = aot.export(tflite.parse(content, graph.path))
    files = {
        f"{bench.source}/small_net{end}": other.files[f"small_net{end}"].decode() for end in (".c", "_constants.c")
    }
    line = Line()
    through(line, monkeypatch)
    with bench.changed(files) as images, pytest.raises(DeviceError, match="the device runs another model") as caught:
        bench.proof.ask(images)
    assert caught.value.exit_code == 3
    assert graph.sha256 in caught.value.message and other.model.sha256 in caught.value.message
    assert {kind & ~REPLY for kind, _ in line.seen} == {Command.HELLO, Command.TENSOR}


def test_the_command_ends_with_1_and_names_the_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = small_net()
    (tmp_path / "small_net.tflite").write_bytes(content)
    wrong = mutations.Mutation("small_net_t9_weights", 5, 7, (tflite.parse(content, Path("x")).ops[8].inputs[1],))
    render = project.render

    def with_a_wrong_bit(export: Export, target: Board, out: Path) -> Project:
        emitted = render(export, target, out)
        constants = out / "lib/small_net/src/small_net_constants.c"
        constants.write_text(mutations.in_c(constants.read_text(), wrong))
        return emitted

    monkeypatch.setattr(project, "render", with_a_wrong_bit)
    command = ["verify", str(tmp_path / "small_net.tflite"), "--board", "native", "--samples", "3", "--json"]
    assert cli.main(command) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["first_divergence"]["op_index"], answer["first_divergence"]["op"]) == (8, "FULLY_CONNECTED")
