"""Repairs keep the bytes on the CPU and let the Edge TPU do more."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import numpy as np
import pytest

from pipeline import interpreters, tflite, vectors
from pipeline.edgetpu import fix
from pipeline.edgetpu.check import check_graph
from pipeline.edgetpu.rewriting import Edit, dynamic_tensors, rewrite
from pipeline.errors import GateError, ModelError, RequestError, ToolError
from pipeline.tflite import Graph
from tests.edgetpu import ground_truth
from tests.edgetpu.mixed_versions import dynamic_batch, mixed_versions
from tests.edgetpu.mutation import mutated
from tests.edgetpu.package_builder import compiled_model
from tests.endless import many_signatures
from tests.tflite_builder import TfliteBuilder


def saved(folder: Path, content: bytes, name: str = "model.tflite") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def parse(content: bytes) -> Graph:
    return tflite.parse(content, Path("model.tflite"))


@pytest.mark.parametrize("share_first_code", [False, True], ids=["a later code", "the first code"])
def test_a_shared_version_is_split_and_the_bytes_stay_over_1000_inputs(tmp_path: Path, share_first_code: bool) -> None:
    model = saved(tmp_path, mixed_versions(share_first_code=share_first_code))
    found = fix.fix_model(model, tmp_path / "fixed.tflite", samples=1000)
    assert found.proof is not None
    assert found.proof.samples == 1000
    assert found.after.on_edgetpu > found.before.on_edgetpu
    assert found.after.on_cpu == 3  # what has to be: DEQUANTIZE, CAST and the ADD of int64
    assert "split from 1 that need 4" in found.repairs[0]
    graph = tflite.read(tmp_path / "fixed.tflite")
    adds = [(op.version, graph.tensor(op.outputs[0]).dtype) for op in graph.ops if op.name == "ADD"]
    assert set(adds) == {(2, "int8"), (4, "int64")}


@pytest.mark.golden
def test_tflm_computes_the_same_bytes_too(tmp_path: Path) -> None:
    """Beside LiteRT, which proves it in `fix`: the interpreter whose answers are golden for microcontrollers."""
    if not interpreters.has_tflm():
        pytest.skip("tflite-micro is not installed")
    content = mixed_versions_without_int64()
    edit, _ = fix.plan(parse(content), content)
    assert edit
    outputs = []
    for name, data in (("a", content), ("b", rewrite(content, parse(content), edit))):
        model = tflite.quantized_model(tflite.read(saved(tmp_path, data, f"{name}.tflite")))
        outputs.append(interpreters.tflm(model, vectors.make(model, 50, 3).inputs).outputs[0].tobytes())
    assert outputs[0] == outputs[1]


def mixed_versions_without_int64() -> bytes:
    model = TfliteBuilder()
    x = model.input((1, 4, 4, 2), scale=0.05, zero_point=-3)
    y = model.output((1, 4, 4, 2), scale=0.07, zero_point=1)
    model.op("ADD", [x, x], [y], 4)
    return model.build()


def test_an_open_batch_becomes_static(tmp_path: Path) -> None:
    model = saved(tmp_path, dynamic_batch())
    found = fix.fix_model(model, tmp_path / "fixed.tflite", samples=200)
    assert not found.before.compiles
    assert found.after.compiles
    assert (found.after.on_edgetpu, found.after.on_cpu) == (2, 0)
    graph = tflite.read(tmp_path / "fixed.tflite")
    assert [op.name for op in graph.ops] == ["RESHAPE", "FULLY_CONNECTED"]
    shape = graph.tensor(graph.ops[0].inputs[1])
    assert shape.data is not None
    assert shape.data.tolist() == [1, 32]
    assert not dynamic_tensors((tmp_path / "fixed.tflite").read_bytes(), graph)


def test_what_needs_no_repair_is_copied(tmp_path: Path) -> None:
    first = saved(tmp_path, mixed_versions())
    fix.fix_model(first, tmp_path / "second.tflite", samples=1)
    again = fix.fix_model(tmp_path / "second.tflite", tmp_path / "third.tflite")
    assert again.repairs == ()
    assert again.proof is None
    assert (tmp_path / "third.tflite").read_bytes() == (tmp_path / "second.tflite").read_bytes()


def test_everything_but_the_edit_is_as_it_was() -> None:
    content = mixed_versions()
    graph = parse(content)
    edit, _ = fix.plan(graph, content)
    after = parse(rewrite(content, graph, edit))
    assert [o.name for o in after.ops] == [o.name for o in graph.ops]
    for old, new in zip(graph.ops, after.ops, strict=True):
        assert (old.inputs, old.outputs, old.options) == (new.inputs, new.outputs, new.options)
    for old_tensor, new_tensor in zip(graph.tensors, after.tensors, strict=True):
        assert (old_tensor.name, old_tensor.shape, old_tensor.dtype) == (
            new_tensor.name, new_tensor.shape, new_tensor.dtype,
        )  # fmt: skip
        assert np.array_equal(old_tensor.scales, new_tensor.scales)
        assert np.array_equal(old_tensor.zero_points, new_tensor.zero_points)
        assert (old_tensor.data is None) == (new_tensor.data is None)
        assert old_tensor.data is None or np.array_equal(old_tensor.data, new_tensor.data)  # type: ignore[arg-type]
    assert (graph.inputs, graph.outputs, graph.description) == (after.inputs, after.outputs, after.description)


def test_a_version_that_is_needed_stays() -> None:
    model = TfliteBuilder()
    x = model.input((1, 4, 4, 2), scale=0.9, zero_point=0)
    y = model.output((1, 4, 4, 2), scale=0.1, zero_point=0)
    model.op("MUL", [x, x], [y], 3)  # 0.9 * 0.9 / 0.1 is more than 1, which version 3 is for
    content = model.build()
    assert fix.plan(parse(content), content) == (Edit(), ())


def test_a_repair_that_changes_a_byte_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = saved(tmp_path, dynamic_batch())
    real = fix.rewrite

    def wrong(content: bytes, graph: Graph, edit: Edit) -> bytes:
        bias = next(t for t in graph.tensors if t.shape == (5,) and t.data is not None)
        assert bias.data is not None
        return real(content, graph, Edit(edit.versions, edit.dropped, {**edit.constants, bias.index: bias.data + 900}))

    monkeypatch.setattr(fix, "rewrite", wrong)
    with pytest.raises(GateError, match="has other bytes; nothing was written"):
        fix.fix_model(model, tmp_path / "fixed.tflite", samples=20)
    assert not (tmp_path / "fixed.tflite").exists()


def test_what_cannot_be_run_is_not_called_proved(tmp_path: Path) -> None:
    model = TfliteBuilder()
    x = model.input((1, 4, 4, 2), scale=0.05)
    middle = model.tensor((1, 4, 4, 2), scale=0.07)
    y = model.output((1, 4, 4, 2), scale=0.07)
    model.op("ADD", [x, x], [middle], 4)
    model.op("somebodys_op", [middle], [y])
    with pytest.raises(ToolError, match="nothing can be proved"):
        fix.fix_model(saved(tmp_path, model.build()), tmp_path / "fixed.tflite", samples=1)
    assert not (tmp_path / "fixed.tflite").exists()


def test_the_model_itself_is_never_overwritten(tmp_path: Path) -> None:
    model = saved(tmp_path, mixed_versions())
    with pytest.raises(RequestError, match="the model itself"):
        fix.fix_model(model, model)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    model = saved(tmp_path, mixed_versions())
    with pytest.raises(RequestError, match="cannot be written"):
        fix.fix_model(model, tmp_path / "nowhere" / "fixed.tflite", samples=1)


def test_a_compiled_model_is_not_repaired(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="compiled for the Edge TPU already"):
        fix.fix_model(saved(tmp_path, compiled_model()), tmp_path / "fixed.tflite")


def test_suggestions_name_the_ops_and_where_to_cut(tmp_path: Path) -> None:
    found = fix.fix_model(saved(tmp_path, mixed_versions()), tmp_path / "fixed.tflite", samples=1)
    text = "\n".join(found.suggestions)
    assert "DEQUANTIZE" in text
    assert "inference_output_type" in text
    assert "edgetpu compile --cut" in text


def test_a_tensors_name_cannot_become_a_command(tmp_path: Path) -> None:
    """The suggestion to cut is there to be copied into a shell, and names come from the file."""
    model = TfliteBuilder()
    x = model.input((1, 4, 4, 2), scale=0.05)
    middle = model.tensor((1, 4, 4, 2), scale=0.05, name="a'; touch pwned; '")
    y = model.output((1, 4, 4, 2), scale=0.05)
    model.op("RELU", [x], [middle], 2)
    model.op("LEAKY_RELU", [middle], [y])
    found = fix.fix_model(saved(tmp_path, model.build()), tmp_path / "fixed.tflite", samples=1)
    command = found.suggestions[-1].split(": ", 1)[1]
    assert shlex.split(command) == ["edgetpu", "compile", "--cut", "a'; touch pwned; '"]


def test_a_small_file_that_would_be_read_forever_is_refused() -> None:
    content = many_signatures()
    with pytest.raises(ModelError, match="5,000 entries"):
        fix.plan(parse(content), content)


def test_a_shape_that_doubles_itself_is_not_folded() -> None:
    """Each CONCATENATION of a value with itself is small in the file, and twice as large in memory."""
    model = TfliteBuilder()
    x = model.input((1, 4, 4, 2), scale=0.05)
    value = model.tensor((4,), dtype="int32")
    model.op("SHAPE", [x], [value], out_type=2)
    for power in range(3, 26):
        twice = model.tensor((1 << power,), dtype="int32")
        model.op("CONCATENATION", [value, value], [twice], axis=0)
        value = twice
    y = model.output((1, 4, 4, 2), scale=0.05)
    model.op("RESHAPE", [x, value], [y])
    content = model.build()
    edit, _ = fix.plan(parse(content), content)
    assert max((array.size for array in edit.constants.values()), default=0) <= 128


def test_mutated_files_are_checked_and_rewritten_or_refused_and_nothing_else() -> None:
    random = np.random.default_rng(5)
    seeds = (dynamic_batch(), mixed_versions())
    done = refused = 0
    for index in range(10_000 if os.environ.get("TENSORFLASH_FULL") else 400):
        content = mutated(random, seeds[index % 2])
        try:
            graph = parse(content)
            check_graph(graph).as_json()
            edit, _ = fix.plan(graph, content)
            parse(rewrite(content, graph, edit))
            done += 1
        except ModelError:
            refused += 1
    assert done
    assert refused


@pytest.mark.zoo
def test_published_models_survive_a_rewrite_byte_for_byte(tmp_path: Path) -> None:
    """All their ops get new operator codes and tables, of the same versions: LiteRT has to load and answer the same."""
    path = ground_truth.folder() / "mobilenet_v1_0.25_128_quant.tflite"
    graph, content = tflite.read(path), path.read_bytes()
    same = rewrite(content, graph, Edit(versions={op.index: op.version for op in graph.ops}))
    assert same != content
    copies = (tflite.read(saved(tmp_path, data, f"{i}.tflite")) for i, data in enumerate((content, same)))
    outputs = []
    for copy in copies:
        model = tflite.quantized_model(copy)
        run, reason = interpreters.litert(model, vectors.make(model, 3, 0).inputs)
        assert run is not None, reason
        outputs.append(run.outputs[0].tobytes())
    assert outputs[0] == outputs[1]
