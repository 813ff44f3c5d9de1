"""The comparison: nothing that differs is missed, and the first place is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline import golden, interpreters, tflite, vectors, verify
from pipeline.errors import DataError, ToolError
from pipeline.golden import Golden, all_layers
from pipeline.model import Export, Image, Inference
from pipeline.tflite import Graph
from pipeline.vectors import Vectors
from pipeline.verify import CrossCheck
from tests.tflite_builder import TfliteBuilder

SAMPLES, TRACED = 6, 4


def two_ops(dtype: str = "int8") -> Graph:
    """x -> RELU -> middle -> RELU6 -> y, four elements each."""
    builder = TfliteBuilder()
    quantized = {"scale": 0.1} if dtype == "int8" else {}
    x = builder.input((1, 4), dtype=dtype, name="x", **quantized)
    middle = builder.tensor((1, 4), dtype=dtype, name="middle", **quantized)
    y = builder.output((1, 4), dtype=dtype, name="y", **quantized)
    builder.op("RELU", [x], [middle])
    builder.op("RELU6", [middle], [y])
    return builder.graph()


GRAPH = two_ops()


def answers_of(graph: Graph, dtype: str = "int8") -> Golden:
    random = np.random.default_rng(0)
    x, middle, y = (random.integers(-128, 128, (SAMPLES, 1, 4)).astype(dtype) for _ in range(3))
    layers = {1: middle[:TRACED], 2: y[:TRACED]}
    return Golden(graph.sha256, Vectors((x,), "test"), (y,), layers, TRACED, "a test")


GOLDEN = answers_of(GRAPH)


def device(answers: Golden) -> tuple[list[Inference], list[Inference]]:
    """What a right device answers, without and with its layers; free to be changed."""
    plain = [Inference((answers.outputs[0][i].copy(),)) for i in range(SAMPLES)]
    traced = [
        Inference((answers.outputs[0][i].copy(),), layers=(answers.layers[1][i].copy(), answers.layers[2][i].copy()))
        for i in range(TRACED)
    ]
    return plain, traced


def compare(plain: list[Inference], traced: list[Inference], answers: Golden = GOLDEN, graph: Graph = GRAPH):
    return verify.compare(answers, plain, traced, all_layers(graph), graph)


def test_equal_answers_are_exact():
    verdict = compare(*device(GOLDEN))
    assert verdict.exact
    assert (verdict.samples, verdict.layers_compared, verdict.layer_samples) == (SAMPLES, 2, TRACED)
    assert (verdict.mismatched_samples, verdict.mismatched_bytes, verdict.max_abs_diff) == (0, 0, 0.0)
    assert (verdict.layer_mismatches, verdict.first_divergence) == (0, None)


def test_every_single_wrong_bit_of_every_answer_is_caught():
    for sample in range(SAMPLES):
        for byte in range(4):
            for bit in range(8):
                plain, traced = device(GOLDEN)
                plain[sample].outputs[0].view(np.uint8)[0, byte] ^= 1 << bit
                verdict = compare(plain, traced)
                assert not verdict.exact
                assert (verdict.mismatched_samples, verdict.mismatched_bytes) == (1, 1)
                first = verdict.first_divergence
                assert first is not None
                assert (first.sample, first.op_index, first.op, first.tensor, first.index) == (
                    sample,
                    1,
                    "RELU6",
                    "y",
                    byte,
                )


def test_every_single_wrong_bit_of_every_layer_is_caught_and_named():
    for sample in range(TRACED):
        for layer, (op, tensor) in enumerate([("RELU", "middle"), ("RELU6", "y")]):
            for bit in range(32):
                plain, traced = device(GOLDEN)
                traced[sample].layers[layer].view(np.uint8)[0, bit // 8] ^= 1 << bit % 8
                verdict = compare(plain, traced)
                assert not verdict.exact
                assert (verdict.mismatched_samples, verdict.layer_mismatches) == (0, 1)
                first = verdict.first_divergence
                assert first is not None
                assert (first.sample, first.op_index, first.op, first.tensor) == (sample, layer, op, tensor)


def test_the_earliest_layer_of_the_first_sample_is_named():
    plain, traced = device(GOLDEN)
    for sample in (2, 3, 5):
        plain[sample].outputs[0][0, 0] ^= 1
    for sample in (2, 3):
        traced[sample].layers[1][0, 0] ^= 1
        traced[sample].layers[0][0, 3] ^= 64
    verdict = compare(plain, traced)
    assert (verdict.mismatched_samples, verdict.layer_mismatches) == (3, 2)
    assert verdict.wrong_samples == (2, 2)
    first = verdict.first_divergence
    assert first is not None
    assert (first.sample, first.op, first.index) == (2, "RELU", 3)
    assert first.expected == int(GOLDEN.layers[1][2, 0, 3])
    assert first.actual == int(GOLDEN.layers[1][2, 0, 3] ^ 64)


def test_a_trace_build_with_a_wrong_output_is_caught():
    plain, traced = device(GOLDEN)
    traced[1].outputs[0][0, 2] ^= 1
    verdict = compare(plain, traced)
    assert (verdict.mismatched_samples, verdict.mismatched_bytes) == (1, 1)
    assert not verdict.exact


def test_the_largest_difference_is_in_codes():
    plain, traced = device(GOLDEN)
    wrong = plain[5].outputs[0]
    wrong[0, 1] = 127 if wrong[0, 1] < 0 else -128
    expected = abs(int(wrong[0, 1]) - int(GOLDEN.outputs[0][5, 0, 1]))
    assert expected > 127, "int8 arithmetic would wrap around"
    assert compare(plain, traced).max_abs_diff == expected


def test_floats_are_compared_by_their_bits():
    graph = two_ops("float32")
    answers = answers_of(graph, "float32")
    answers.outputs[0][0, 0] = [0.0, np.nan, np.inf, 1.0]
    answers = dataclasses.replace(answers, layers={}, layer_samples=0)
    plain = [Inference((answers.outputs[0][i].copy(),)) for i in range(SAMPLES)]
    assert compare(plain, [], answers, graph).exact, "the very same NaN is equal"
    plain[0].outputs[0][0, 0] = -0.0
    verdict = compare(plain, [], answers, graph)
    assert (verdict.mismatched_samples, verdict.mismatched_bytes, verdict.max_abs_diff) == (1, 1, 0.0)
    plain[0].outputs[0][0] = [0.0, 7.0, np.inf, 1.0]
    verdict = compare(plain, [], answers, graph)
    assert verdict.max_abs_diff == float("inf")
    assert verdict.first_divergence is not None and verdict.first_divergence.index == 1


def test_without_a_trace_no_layer_counts_as_compared():
    plain, _ = device(GOLDEN)
    verdict = compare(plain, [])
    assert (verdict.layers_compared, verdict.layer_samples) == (0, 0)


def test_golden_answers_without_a_layer_are_refused():
    plain, traced = device(GOLDEN)
    lacking = dataclasses.replace(GOLDEN, layers={1: GOLDEN.layers[1]})
    with pytest.raises(DataError, match=r"lack 1 of 2 layers: op 1 \(RELU6\), y"):
        compare(plain, traced, lacking)


def test_answers_that_cannot_be_the_models_are_no_verdict():
    plain, traced = device(GOLDEN)
    for wrong in (
        (plain[:-1], traced),
        ([Inference(())] * SAMPLES, traced),
        ([Inference((np.zeros((1, 4), np.uint8),))] * SAMPLES, traced),
        ([Inference((np.zeros((1, 3), np.int8),))] * SAMPLES, traced),
        (plain, [dataclasses.replace(traced[0], layers=traced[0].layers[:1])]),
        (plain, [dataclasses.replace(traced[0], layers=None)]),
    ):
        with pytest.raises(ValueError, match="answer"):
            compare(*wrong)


def report(**changed: object) -> dict:
    model = tflite.quantized_model(GRAPH)
    export = Export(
        runtime="aot", model=model, symbol="m", header="m.h", files={}, arena_bytes=16, arena_lower_bound=8,
        weights_bytes=100, constant_bytes=110, macs=20, kernels=(), layers=(),
    )  # fmt: skip
    values = {
        "model": model,
        "board": "native",
        "export": export,
        "golden": GOLDEN,
        "verdict": compare(*device(GOLDEN)),
        "litert": CrossCheck("p", "1", "BUILTIN_REF", 0, 0.0),
        "image": Image("release", Path("elf"), "0" * 64, 1000, 200, {}, 150, 40),
        "instructions": [5, 3, 9],
        "stack_bytes": 77,
    }
    return json.loads(json.dumps(verify.as_json(**(values | changed)), allow_nan=False))


def test_the_json_has_the_promised_keys():
    found = report()
    assert set(found) >= {
        "model", "board", "runtime", "samples", "mismatched_samples", "mismatched_bytes", "max_abs_diff",
        "first_divergence", "instructions", "flash_bytes", "ram_bytes", "arena_bytes", "stack_bytes", "macs", "golden",
        "litert", "layers_compared", "layer_mismatches", "weights_bytes", "model_flash_bytes", "model_ram_bytes",
        "notes",
    }  # fmt: skip
    assert set(found["model"]) == {"path", "sha256"}
    assert set(found["litert"]) >= {"package", "version", "kernels", "mismatched_samples", "max_abs_diff"}
    assert found["instructions"] == {"median": 5, "min": 3, "max": 9}
    assert found["first_divergence"] is None
    assert report(instructions=None)["instructions"] is None


def test_the_json_names_the_first_divergence():
    plain, traced = device(GOLDEN)
    plain[5].outputs[0][0, 1] ^= 3
    first = report(verdict=compare(plain, traced))["first_divergence"]
    right = int(GOLDEN.outputs[0][5, 0, 1])
    where = {"sample": 5, "op_index": 1, "op": "RELU6", "tensor": "y", "index": 1}
    assert first == {**where, "expected": right, "actual": right ^ 3}


def test_the_json_stays_json_when_a_nan_was_answered():
    graph = two_ops("float32")
    answers = dataclasses.replace(answers_of(graph, "float32"), layers={}, layer_samples=0)
    plain = [Inference((answers.outputs[0][i].copy(),)) for i in range(SAMPLES)]
    plain[0].outputs[0][0, 0] = np.nan
    found = report(verdict=compare(plain, [], answers, graph))
    assert found["first_divergence"]["actual"] == "nan"
    assert found["max_abs_diff"] > 1e308


# The cross-check


def test_a_host_without_litert_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(interpreters, "_LITERT", (("tflite-runtime", "not_there_at_all"),))
    check = verify.cross_check(GOLDEN, tflite.quantized_model(GRAPH), GRAPH)
    assert check == CrossCheck(reason="tflite-runtime is not installed")
    assert report(litert=check)["litert"]["package"] is None


@pytest.mark.golden
def test_newer_litert_differs_in_fully_connected_and_is_named(model_zoo: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("ai_edge_litert")
    monkeypatch.setattr(interpreters, "_LITERT", (("ai-edge-litert", "ai_edge_litert"),))
    graph = tflite.read(model_zoo / "mlperf_tiny/ad01_int8.tflite")
    model = tflite.quantized_model(graph)
    answers = golden.compute(model, vectors.make(model, 12, 1), (), 0)
    check = verify.cross_check(answers, model, graph)
    assert (check.package, check.kernels) == ("ai-edge-litert", "BUILTIN_REF")
    assert check.mismatched_samples and check.max_abs_diff
    assert check.first_difference is not None
    assert check.first_difference.op == "FULLY_CONNECTED"
    assert check.first_difference.max_abs_diff == 1


@pytest.mark.golden
def test_what_litert_overwrites_is_not_taken_for_a_difference(tmp_path: Path):
    builder = TfliteBuilder()
    x = builder.input((1, 8), scale=0.1)
    a = builder.tensor((1, 8), scale=0.1)
    b = builder.output((1, 8), scale=0.3, zero_point=5)
    builder.op("RELU", [x], [a])
    builder.op("ADD", [a, x], [b])
    path = tmp_path / "m.tflite"
    path.write_bytes(builder.build())
    graph = tflite.read(path)
    model = tflite.quantized_model(graph)
    answers = golden.compute(model, vectors.make(model, 12, 1), all_layers(graph), 12)
    run, reason = interpreters.litert(model, answers.vectors.inputs, [a], 12)
    if run is None:
        pytest.skip(reason)
    wrong = dataclasses.replace(answers, outputs=(answers.outputs[0] ^ 1,))
    check = verify.cross_check(wrong, model, graph)
    assert check.mismatched_samples == 12
    assert check.first_difference is None, "both interpreters agree; it is the golden answers that were changed"


@pytest.mark.golden
def test_a_missing_tflm_leaves_the_cross_check_working(model_zoo: Path, monkeypatch: pytest.MonkeyPatch):
    graph = tflite.read(model_zoo / "mlperf_tiny/ad01_int8.tflite")
    model = tflite.quantized_model(graph)
    answers = golden.compute(model, vectors.make(model, 3, 1), (), 0)
    monkeypatch.setattr(interpreters, "has_tflm", lambda: False)
    with pytest.raises(ToolError, match="tflite-micro is not installed"):
        golden.compute(model, answers.vectors, (), 0)
    check = verify.cross_check(dataclasses.replace(answers, outputs=(answers.outputs[0] ^ 1,)), model, graph)
    if check.package is not None:
        assert (check.mismatched_samples, check.first_difference) == (3, None)
