"""Published models in C against TFLM: the bytes of every layer, not only of the output, which a softmax smooths."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from pipeline import tflite
from tests.kernels.batch import CORTEX_M4, HOST, Case, Target, check
from tests.kernels.random_cases import Draw

MODELS = ["kws_ref_model", "ad01_int8"]


def every_layer_an_output(content: bytes) -> bytes:
    """The same model with all computed tensors as its outputs."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.subgraphs[0].outputs = np.array([int(t) for op in model.subgraphs[0].operators for t in op.outputs], np.int32)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.golden
@pytest.mark.zoo
@pytest.mark.parametrize("target", [HOST, pytest.param(CORTEX_M4, marks=pytest.mark.emulated)], ids=lambda t: t.name)
@pytest.mark.parametrize("name", MODELS)
def test_every_layer_of_a_published_model_has_the_bytes_of_tflm(
    name: str, target: Target, model_zoo: Path, tmp_path: Path
) -> None:
    content = every_layer_an_output((model_zoo / "mlperf_tiny" / f"{name}.tflite").read_bytes())
    graph = tflite.parse(content, Path(f"{name}.tflite"))
    source = graph.tensor(graph.inputs[0])
    samples = Draw(name, 0).samples([(source.shape, source.zero_point)], count=12 if target is HOST else 3)
    check([Case(name, content, samples)], target, tmp_path)
