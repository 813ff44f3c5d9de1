import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kernels.batch import HOST, Case, check
from tests.kernels.random_cases import Draw

pytestmark = pytest.mark.train

CASES = Path(__file__).parent / "convert_cases.py"


def converted(folder: Path) -> dict[str, Any]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, str(CASES), str(folder)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
        cwd=CASES.parent.parent,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("conversions")


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    return converted(folder)


@pytest.mark.parametrize("case", ["plain", "qat"])
def test_a_conversion_gives_int8_throughout(results: dict[str, Any], case: str) -> None:
    result = results[case]
    assert result["ops"] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]
    assert (result["inputs"], result["outputs"]) == (["int8"], ["int8"])
    assert result["dtypes"] == ["int32", "int8"]


@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_other_types_of_input_and_output_are_quantized_at_the_edges_alone(results: dict[str, Any], io: str) -> None:
    result = results[io]
    out = "QUANTIZE" if io == "uint8" else "DEQUANTIZE"
    assert result["ops"] == ["QUANTIZE", "CONV_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX", out]
    assert (result["inputs"], result["outputs"]) == ([io], [io])
    assert result["dtypes"] == sorted(["int32", "int8", io])


@pytest.mark.parametrize("io", ["int16", "float32"])
def test_activations_of_int16_have_weights_of_int8(results: dict[str, Any], io: str) -> None:
    result = results[f"int16, {io}"]
    ops = ["CONV_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]
    assert result["ops"] == (ops if io == "int16" else ["QUANTIZE", *ops, "DEQUANTIZE"])
    assert (result["inputs"], result["outputs"]) == ([io], [io])
    assert result["dtypes"] == sorted({"int16", "int32", "int64", "int8", io})  # int32: the shape that RESHAPE reads


@pytest.mark.golden
def test_activations_of_int16_give_the_bytes_of_tflm(results: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    cases = []
    for io, limit in (("int16", 32_767), ("float32", 1.5)):  # real numbers beyond the representative samples, too
        samples = np.random.default_rng(1).uniform(-limit, limit, (20, 1, 1, 6, 6, 1)).astype(io)
        content = (folder / f"int16_{io}.tflite").read_bytes()
        cases.append(Case(f"int16_{io}", content, tuple(map(tuple, samples))))
    check(cases, HOST, tmp_path)


@pytest.mark.parametrize("case", ["plain", "qat"])
def test_dense_has_one_weight_scale_where_that_is_asked_for(results: dict[str, Any], case: str) -> None:
    assert results[f"{case}, one dense scale"]["dense scales"] == [1]
    assert results["plain"]["dense scales"] == [3]


@pytest.mark.parametrize("case", ["plain", "uint8", "float32"])
def test_a_conversion_gives_the_same_bytes_again(results: dict[str, Any], case: str) -> None:
    assert results[case]["sha256"] == results[f"{case} again"]["sha256"]


@pytest.mark.slow
def test_a_conversion_gives_the_same_bytes_in_another_process(results: dict[str, Any], tmp_path: Path) -> None:
    assert converted(tmp_path) == results


@pytest.mark.parametrize("case", ["no samples", "a NaN"])
def test_representative_data_that_would_give_a_float_model_is_refused(results: dict[str, Any], case: str) -> None:
    assert results[case]["error"] == "DataError"
    assert "representative data is empty or not finite" in results[case]["message"]


def test_a_model_that_stays_float_in_part_is_refused_and_the_op_is_named(results: dict[str, Any]) -> None:
    result = results["sin"]
    assert result["error"] == "ModelError" and result["hint"] is not None
    assert "the converter's result is not int8 (SIN stayed float)" in result["message"]


def test_an_op_that_has_no_form_for_int16_is_named(results: dict[str, Any]) -> None:
    result = results["int16, sin"]
    assert result["error"] == "ModelError" and "to int16: " in result["message"] and "'SIN'" in result["message"]
    assert result["hint"] == "replace the layer it names by one that TensorFlow Lite has an int16 op for."


def test_dead_channels_are_converted_with_scales_that_work_and_named(results: dict[str, Any]) -> None:
    assert results["dead"]["scales are positive"] and results["dead"]["dtypes"] == ["int32", "int8"]
    one, whole = results["dead"]["warnings"]
    assert "conv2d" in one and "1 of 4 channels have only zeros for weights (1)" in one
    assert "(FULLY_CONNECTED): 3 of 3 channels have only zeros for weights (0, 1, 2)" in whole
    assert results["plain"]["warnings"] == []


def test_layers_that_training_could_not_prepare_are_calibrated_instead(results: dict[str, Any]) -> None:
    assert results["dense and normalization"]["dtypes"] == ["int32", "int8"]


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "op", "shape"),
    [("streaming", "ASSIGN_VARIABLE", (1, 1, 8)), ("lstm", "UNIDIRECTIONAL_SEQUENCE_LSTM", (1, 6, 8))],
)
def test_a_model_with_state_is_int8_and_gives_the_bytes_of_tflm(
    results: dict[str, Any], folder: Path, name: str, op: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    assert op in results[name]["ops"], results[name]
    case = Case(name, (folder / f"{name}.tflite").read_bytes(), Draw(name, 0).samples([(shape, 0)], 20))
    check([case], HOST, tmp_path)


def test_a_recurrent_layer_without_a_batch_size_is_refused_with_what_to_do(results: dict[str, Any]) -> None:
    assert results["lstm of any batch"]["hint"] == "recurrent layers need a fixed batch: Input(.., batch_size=1)."
