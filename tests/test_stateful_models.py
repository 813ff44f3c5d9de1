"""Models with state, from end to end: the contract of docs/architecture.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipeline import runtimes, tflite
from pipeline.aot import export
from pipeline.board import load
from pipeline.device_tests.bench import Bench, Request
from pipeline.device_tests.faults import FaultyStream
from pipeline.devices import Device, FrameLink
from pipeline.errors import UnsupportedError
from pipeline.graph_costs import total_macs, total_weight_bytes
from pipeline.rig import Place
from pipeline.state import is_stateful
from pipeline.verification import verify_model
from pipeline.wire import TRACE, Command
from tests.stateful_model import stateful
from tests.test_device_tests import run

SAMPLES = 30


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "stateful.tflite"
    path.write_bytes(stateful())
    return path


@pytest.fixture(scope="module")
def bench_of(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    """The model on a board, built once."""

    @cache
    def made(name: str) -> Bench:
        request = Request(model, "aot", None, SAMPLES, 0, False)
        return Bench.build(Place(name, load(name)), request, tmp_path_factory.mktemp(name))

    return made


@pytest.fixture
def bench(bench_of: Callable[[str], Bench]) -> Bench:
    return bench_of("native")


ON_BOARDS = pytest.mark.parametrize(
    "name",
    [
        "native",
        pytest.param("qemu_cortex_m4", marks=pytest.mark.emulated),
        pytest.param("qemu_riscv32", marks=[pytest.mark.emulated, pytest.mark.slow]),
        pytest.param("qemu_cortex_m55", marks=[pytest.mark.emulated, pytest.mark.slow]),
    ],
)


@pytest.mark.golden
@ON_BOARDS
def test_a_model_with_state_is_proved_in_one_sequence(name: str, model: Path, bench_of: Callable[[str], Bench]) -> None:
    found: dict[str, Any] = verify_model(
        model, board=name, runtime="aot", samples=SAMPLES, seed=0, inputs=None, golden_file=None, transport="fast",
        out=bench_of(name).work, progress=lambda *_: None, profile=True,
    )  # fmt: skip
    assert (found["samples"], found["mismatched_samples"], found["layer_mismatches"]) == (SAMPLES, 0, 0)
    assert (found["layers_compared"], found["layer_samples"]) == (6, 12), "all but the variable's handle"


@pytest.mark.golden
def test_its_answers_depend_on_the_samples_before(bench: Bench) -> None:
    assert is_stateful(bench.graph)
    sample = bench.truth.vectors.sample(0)
    with bench.open() as device:
        device.reset()
        answers = {device.infer(sample).outputs[0].tobytes() for _ in range(6)}
    assert len(answers) > 3


@pytest.mark.golden
def test_samples_in_any_order_are_led_to(bench: Bench) -> None:
    with bench.open() as device:
        for index in (3, 4, 2, 2, 9, 0, 1):
            assert bench.is_right(index, bench.infer(device, index)), index


@pytest.mark.golden
def test_a_reset_begins_anew_and_a_new_host_does_not(bench: Bench) -> None:
    with bench.open() as device:
        bench.infer(device, 0)
        again = Device(FrameLink(device.link.stream, name="another host"))
        assert bench.is_right(1, again.infer(bench.truth.vectors.sample(1)))
        again.reset()
        assert bench.is_right(0, again.infer(bench.truth.vectors.sample(0)))


@pytest.mark.golden
def test_an_inference_too_many_is_noticed(bench: Bench) -> None:
    """What the next test rests on: were a lost reply's request executed again, the answers would be wrong."""
    with bench.open() as device:
        bench.infer(device, 0)
        device.infer(bench.truth.vectors.sample(0))
        assert not bench.is_right(1, device.infer(bench.truth.vectors.sample(1)))


@pytest.mark.golden
@ON_BOARDS
def test_a_request_whose_reply_was_lost_is_not_executed_again(name: str, bench_of: Callable[[str], Bench]) -> None:
    bench = bench_of(name)
    with bench.open() as good:
        stream = good.link.stream
        write, read, lost = stream.write, stream.read, []
        losing = False

        def noticing(data: bytes) -> None:
            nonlocal losing
            losing = data not in lost
            lost.append(data)
            write(data)

        def forgetful(most: int, timeout_s: float) -> bytes:
            data = read(most, timeout_s)
            return b"" if losing else data

        stream.write, stream.read = noticing, forgetful  # type: ignore[method-assign]
        device = Device(FrameLink(stream, name="forgetful", first_wait_s=0.01))
        for index in range(8):
            assert bench.is_right(index, bench.infer(device, index)), index
    assert len(lost) >= 2 * len(set(lost)), "each request was sent twice at least"


@pytest.mark.golden
@pytest.mark.parametrize("fault", ["drop", "cut", "double", "noise"])
def test_a_bad_line_does_not_change_the_state(bench: Bench, fault: str) -> None:
    with bench.open() as good:
        line = FaultyStream(good.link.stream, fault, seed=5)
        device = Device(FrameLink(line, name=fault, first_wait_s=0.05, timeout_s=60.0))
        for index in range(SAMPLES):
            assert bench.is_right(index, bench.infer(device, index)), index
    assert line.injected >= 3


@pytest.mark.golden
def test_a_trace_that_was_abandoned_is_made_up_for_by_a_reset(bench: Bench) -> None:
    layers = bench.export.layers
    with bench.open("trace", count=False) as device:
        device.reset()
        device._write_inputs(bench.truth.vectors.sample(7))
        device.link.request(Command.INVOKE, bytes([TRACE]))
        again = Device(device.link)
        again.reset()
        for index in range(3):
            traced = again.trace(bench.truth.vectors.sample(index), layers)
            assert bench.is_right(index, traced)
            for layer, found in zip(layers, traced.layers or (), strict=True):
                assert found.tobytes() == bench.truth.layers[layer.tensor_index][index].tobytes(), layer.tensor


@pytest.mark.golden
def test_a_wrong_answer_names_its_layer(bench: Bench) -> None:
    with bench.open() as device:
        answers = [bench.infer(device, index) for index in range(5)]
    wrong = answers[3].outputs[0] ^ 1
    answers[3] = replace(answers[3], outputs=(wrong,))
    with pytest.raises(pytest.fail.Exception, match=r"1 of 5 answers .* sample 3; in the trace build every layer is"):
        bench.require_right(answers, lambda *_: None)


@pytest.mark.golden
@pytest.mark.slow
def test_a_model_with_state_passes_the_device_tests(model: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "--board", "native", "--model", str(model), "--samples", "9", "--soak", "30")
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_costs_are_counted() -> None:
    graph = tflite.parse(stateful(), Path("stateful.tflite"))
    assert export(graph).macs == total_macs(graph) == 6 * (8 + 5) + 4 * 4 * (6 + 4)
    assert total_weight_bytes(graph) == 6 * 8 + 2 * 6 * 5 + 4 * 6 + 4 * 4 * (6 + 4) + 4 * 4 * 4


def test_state_is_never_overwritten() -> None:
    arena = export(tflite.parse(stateful(), Path("stateful.tflite"))).arena
    kept = [slot for slot in arena if slot.name.startswith("state of ")]
    assert [slot.name for slot in kept] == ["state of before", "state of memory", "state of hidden", "state of cell"]
    for slot in kept:
        assert all(
            slot is other or slot.offset + slot.bytes <= other.offset or other.offset + other.bytes <= slot.offset
            for other in arena
        ), slot.name


def test_the_first_values_are_those_of_the_file() -> None:
    files = export(tflite.parse(stateful(), Path("stateful.tflite"))).files
    code = files["stateful.c"].decode()
    init = code[code.index("int stateful_init(void) {") :]
    init = init[: init.index("}")]
    assert "memcpy(arena + " in init and "stateful_before_initial, 4u); /* before */" in init
    assert ", 0, 60u); /* memory */" in init and ", 5, 4u); /* hidden */" in init and ", 0, 8u); /* cell */" in init
    assert "{\n    5, 60, -70, 127,\n}" in files["stateful_constants.c"].decode()
    assert "gives all state its initial value. */\nint stateful_init(void);" in files["stateful_model.h"].decode()


def test_the_tflm_runtime_says_that_it_keeps_no_variables(model: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"op 0 \(CALL_ONCE\): the tflm runtime keeps no variables"):
        runtimes.export(tflite.read(model), load("qemu_cortex_m4"), "tflm")
