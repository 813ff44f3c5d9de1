"""Golden answers: TFLM in a process of its own, and the file that keeps its answers."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline import golden, interpreters, tflite, vectors
from pipeline.errors import DataError, ModelError, RequestError, ToolError, UnsupportedError
from pipeline.golden import Golden, all_layers
from pipeline.model import QuantizedModel
from pipeline.tflite import Graph
from tests.tflite_builder import TfliteBuilder

needs_tflm = pytest.mark.golden


def written(builder: TfliteBuilder, folder: Path, name: str = "m") -> tuple[Graph, QuantizedModel]:
    path = folder / f"{name}.tflite"
    path.write_bytes(builder.build())
    graph = tflite.read(path)
    return graph, tflite.quantized_model(graph)


def small(scale: float = 0.1) -> TfliteBuilder:
    """x [1, 4] -> FULLY_CONNECTED -> RELU6 -> y [1, 3]."""
    builder = TfliteBuilder()
    x = builder.input((1, 4), scale=scale, name="x")
    weights = builder.constant(np.arange(-6, 6, dtype=np.int8).reshape(3, 4), scale=[0.5, 0.25, 0.125])
    middle = builder.tensor((1, 3), scale=0.3, zero_point=-4, name="middle")
    y = builder.output((1, 3), scale=0.3, zero_point=-4, name="y")
    builder.op("FULLY_CONNECTED", [x, weights, -1], [middle])
    builder.op("RELU6", [middle], [y])
    return builder


def answers_of(graph: Graph, model: QuantizedModel, samples: int = 7) -> Golden:
    return golden.compute(model, vectors.make(model, samples, 1), all_layers(graph), 5)


@needs_tflm
def test_tflm_answers_as_arithmetic_says(tmp_path: Path):
    graph, model = written(small(), tmp_path)
    found = answers_of(graph, model)
    assert found.source.startswith("tflite-micro ")
    assert (found.samples, found.layer_samples, sorted(found.layers)) == (7, 5, [2, 3])
    x = found.vectors.inputs[0].astype(np.float64)[:, 0] * 0.1
    real = x @ (np.arange(-6, 6).reshape(3, 4) * np.array([[0.5], [0.25], [0.125]])).T
    middle = np.clip(np.round(real / 0.3) - 4, -128, 127)
    assert np.abs(found.layers[2][:, 0] - middle[:5]).max() <= 1
    assert np.abs(found.outputs[0][:, 0] - np.clip(middle, -4, 16)).max() <= 1
    assert np.array_equal(found.layers[3], found.outputs[0][:5]), "the last layer is the output"


@needs_tflm
@pytest.mark.zoo
@pytest.mark.parametrize("name", ["kws_ref_model", "ad01_int8"])
def test_published_models_have_all_layers(model_zoo: Path, name: str):
    graph = tflite.read(model_zoo / "mlperf_tiny" / f"{name}.tflite")
    model = tflite.quantized_model(graph)
    found = golden.compute(model, vectors.make(model, 14, 7), all_layers(graph))
    assert found.layer_samples == golden.LAYER_SAMPLES >= 10
    assert len(found.layers) == len(graph.ops)
    for index, array in found.layers.items():
        assert array.shape == (12, *graph.tensor(index).shape)
        assert len(np.unique(array)) > 2
    assert np.array_equal(found.layers[graph.outputs[0]], found.outputs[0][:12])


@needs_tflm
def test_a_second_process_answers_the_same_bytes(tmp_path: Path):
    graph, model = written(small(), tmp_path)
    for name in ("a", "b"):
        answers_of(graph, model).save(tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@needs_tflm
def test_what_is_saved_is_read_again(tmp_path: Path):
    graph, model = written(small(), tmp_path)
    saved = answers_of(graph, model)
    saved.save(tmp_path / "g.npz")
    found = golden.load(tmp_path / "g.npz", model)
    assert (found.model_sha256, found.source, found.layer_samples) == (model.sha256, saved.source, 5)
    assert np.array_equal(found.vectors.inputs[0], saved.vectors.inputs[0])
    assert np.array_equal(found.outputs[0], saved.outputs[0])
    assert sorted(found.layers) == [2, 3]
    assert all(np.array_equal(found.layers[i], saved.layers[i]) for i in saved.layers)
    assert all(i.date_time == (1980, 1, 1, 0, 0, 0) for i in zipfile.ZipFile(tmp_path / "g.npz").infolist())


def by_hand(model: QuantizedModel) -> Golden:
    given = vectors.make(model, 3, 1)
    layer = np.zeros((2, 1, 3), np.int8)
    return Golden(model.sha256, given, (np.ones((3, 1, 3), np.int8),), {2: layer, 3: layer}, 2, "by hand")


def test_a_golden_file_of_another_model_is_refused(tmp_path: Path):
    _, model = written(small(), tmp_path)
    _, other = written(small(0.2), tmp_path, "other")
    by_hand(other).save(tmp_path / "g.npz")
    with pytest.raises(DataError, match="golden answers of another model"):
        golden.load(tmp_path / "g.npz", model)


def test_golden_files_that_are_none_are_refused(tmp_path: Path):
    _, model = written(small(), tmp_path)
    path = tmp_path / "g.npz"
    with pytest.raises(DataError, match="no such file"):
        golden.load(path, model)
    np.savez(path, input_0=np.zeros((3, 1, 4), np.int8))
    with pytest.raises(DataError, match="not a file of golden answers"):
        golden.load(path, model)
    by_hand(model).save(path)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 61):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError):
            golden.load(path, model)


@pytest.mark.parametrize("name", ["input_0", "output_0", "layer_2"])
def test_a_golden_file_with_a_wrong_or_missing_array_is_refused(tmp_path: Path, name: str):
    _, model = written(small(), tmp_path)
    path = tmp_path / "g.npz"
    by_hand(model).save(path)
    with np.load(path) as content:
        arrays = dict(content)
    for wrong in (arrays[name][:-1], arrays[name].astype(np.uint8), arrays[name][..., :-1], None):
        changed = {key: value for key, value in arrays.items() if key != name}
        if wrong is not None:
            changed[name] = wrong
        if name == "input_0" and wrong is not None and wrong.dtype == np.int8 and wrong.shape[1:] == (1, 4):
            changed["output_0"] = arrays["output_0"]
        np.savez(path, **changed)
        with pytest.raises(DataError, match=r"is needed|is missing"):
            golden.load(path, model)


def test_a_damaged_byte_never_changes_an_answer(tmp_path: Path):
    _, model = written(small(), tmp_path)
    path = tmp_path / "g.npz"
    right = by_hand(model)
    right.save(path)
    whole = path.read_bytes()
    random = np.random.default_rng(11)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[int(random.integers(len(whole)))] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            found = golden.load(path, model)
        except DataError:
            refused += 1
            continue
        assert np.array_equal(found.outputs[0], right.outputs[0])
        assert np.array_equal(found.vectors.inputs[0], right.vectors.inputs[0])
        assert all(np.array_equal(found.layers[i], right.layers[i]) for i in (2, 3))
    assert refused > 75


@pytest.mark.parametrize("folder", ["absent", "m.tflite"])
def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path, folder: str):
    _, model = written(small(), tmp_path)
    with pytest.raises(RequestError, match="cannot be written"):
        by_hand(model).save(tmp_path / folder / "g.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.tflite"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full to be a full disk")
def test_a_disk_that_fills_up_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _, model = written(small(), tmp_path)
    answers = by_hand(model)
    answers.save(tmp_path / "g.npz")
    before = (tmp_path / "g.npz").read_bytes()

    def write(path: Path, content: bytes) -> int:
        path.touch()
        with Path("/dev/full").open("wb", 0) as disk:
            return disk.write(content)

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(RequestError, match="No space left on device"):
        answers.save(tmp_path / "g.npz")
    assert (tmp_path / "g.npz").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.npz", "m.tflite"]


# The interpreter's process


def test_a_host_without_tflm_is_told_about_saved_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    graph, model = written(small(), tmp_path)
    monkeypatch.setattr(interpreters, "has_tflm", lambda: False)
    with pytest.raises(ToolError, match="tflite-micro is not installed") as found:
        answers_of(graph, model)
    assert "--golden FILE.npz" in str(found.value.hint)
    assert found.value.exit_code == 3


@needs_tflm
def test_an_op_that_tflm_lacks_is_named(tmp_path: Path):
    builder = TfliteBuilder()
    builder.op("SIGN", [builder.input((1, 4), scale=0.1)], [builder.output((1, 4), scale=0.1)])
    with pytest.raises(UnsupportedError, match="TFLM has no op SIGN"):
        answers_of(*written(builder, tmp_path))


@needs_tflm
def test_a_model_that_tflm_refuses_is_an_error_with_its_words(tmp_path: Path):
    builder = TfliteBuilder()
    builder.op("COS", [builder.input((1, 4), scale=0.1)], [builder.output((1, 4), scale=0.1)])
    with pytest.raises(ModelError, match=r"COS .* failed to invoke"):
        answers_of(*written(builder, tmp_path))


@needs_tflm
def test_a_model_that_crashes_tflm_is_an_error(tmp_path: Path):
    builder = TfliteBuilder()
    begin = builder.constant(np.array([0, 1 << 30], np.int32))
    size = builder.constant(np.array([1, 1], np.int32))
    x, y = builder.input((1, 4), scale=0.1), builder.output((1, 1), scale=0.1)
    builder.op("SLICE", [x, begin, size], [y])
    graph, model = written(builder, tmp_path)
    with pytest.raises(ModelError, match=r"crashed \(SIG[A-Z]+\)"):
        answers_of(graph, model)
    with pytest.raises(ModelError, match=r"crashed \(SIG[A-Z]+\)"):
        interpreters.tflm_arena(model, vectors.make(model, 1, 0).inputs)


@needs_tflm
def test_an_interpreter_that_takes_too_long_is_stopped(tmp_path: Path):
    _, model = written(small(), tmp_path)
    with pytest.raises(ToolError, match=r"stopped after 0\.01 s"):
        interpreters.tflm(model, vectors.make(model, 3, 1).inputs, timeout_s=0.01)


@needs_tflm
def test_a_tflm_that_cannot_be_imported_is_the_hosts_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    graph, model = written(small(), tmp_path)
    (tmp_path / "broken/tflite_micro").mkdir(parents=True)
    (tmp_path / "broken/tflite_micro/__init__.py").write_text("raise ImportError('libsomething.so is missing')\n")
    monkeypatch.setattr(interpreters, "__file__", str(tmp_path / "broken/pipeline/interpreters.py"))
    monkeypatch.setenv("PYTHONPATH", str(Path(golden.__file__).parents[1]))
    with pytest.raises(ToolError, match=r"libsomething\.so is missing"):
        answers_of(graph, model)


@needs_tflm
def test_a_file_that_changed_in_between_is_refused(tmp_path: Path):
    graph, model = written(small(), tmp_path)
    written(small(0.2), tmp_path)
    with pytest.raises(ModelError, match="has changed since it was read"):
        answers_of(graph, model)


@needs_tflm
def test_modules_beside_the_user_cannot_take_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    graph, model = written(small(), tmp_path)
    for name in ("numpy", "json", "tflite_micro", "pipeline"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(77)\n")
    monkeypatch.chdir(tmp_path)
    assert answers_of(graph, model).samples == 7


@needs_tflm
def test_the_arena_is_the_smallest_that_works(tmp_path: Path):
    _, model = written(small(), tmp_path)
    arena = interpreters.tflm_arena(model, vectors.make(model, 1, 0).inputs)
    assert arena.bytes % 16 == 0
    assert 3 + 3 + 4 < arena.bytes < 4096
    assert arena.trace_bytes >= arena.bytes
    assert interpreters.tflm_arena(model, vectors.make(model, 1, 0).inputs) == arena


@needs_tflm
@pytest.mark.parametrize("dtype", ["float32", "bool", "int32"])
def test_other_dtypes_go_in_and_out(tmp_path: Path, dtype: str):
    builder = TfliteBuilder()
    x = builder.input((1, 6), dtype=dtype)
    y = builder.output((1, 6), dtype=dtype)
    if dtype == "float32":
        q = builder.tensor((1, 6), scale=0.5, zero_point=3)
        builder.op("QUANTIZE", [x], [q])
        builder.op("DEQUANTIZE", [q], [y])
    elif dtype == "bool":
        builder.op("LOGICAL_NOT", [x], [y])
    else:
        builder.op("ADD", [x, x], [y])
    graph, model = written(builder, tmp_path)
    found = answers_of(graph, model, 9)
    given = found.vectors.inputs[0]
    assert found.outputs[0].dtype == np.dtype(dtype)
    if dtype == "bool":
        assert np.array_equal(found.outputs[0], ~given)
    elif dtype == "int32":
        assert np.array_equal(found.outputs[0], 2 * given)
    else:
        inside = np.clip(given, -65.5, 62.0)
        assert np.abs(found.outputs[0] - inside).max() <= 0.25
    found.save(tmp_path / "g.npz")
    assert np.array_equal(golden.load(tmp_path / "g.npz", model).outputs[0], found.outputs[0])
