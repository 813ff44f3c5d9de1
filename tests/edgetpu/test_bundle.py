"""Bundles: what is in one, that an edited one is refused, and that its runner runs where Python is old."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import board, contract, data, tflite, vectors
from pipeline.edgetpu import bundle, deploy, troubles
from pipeline.edgetpu.bundle import Bundle
from pipeline.edgetpu.deploy import DeviceRun, Place
from pipeline.errors import DataError, DeviceError, RequestError
from pipeline.interpreters import litert
from pipeline.model import QuantizedModel
from tests.test_cli import small_model
from tests.tflite_builder import TfliteBuilder

CORAL = board.load("coral_usb")
LABELS = ("left", "middle", "right")


def quantized(folder: Path, name: str = "small", model: TfliteBuilder | None = None) -> QuantizedModel:
    path = folder / f"{name}.tflite"
    path.write_bytes((model or small_model()).build())
    return tflite.quantized_model(tflite.read(path))


def halves(folder: Path) -> tuple[Path, Path]:
    """small_model in two files."""
    whole = small_model().graph()
    first, second = TfliteBuilder(), TfliteBuilder()
    x, y = first.input((1, 4), scale=0.5, zero_point=-1), first.output((1, 3), scale=0.25, zero_point=2)
    weights = first.constant(np.asarray(whole.tensor(2).data), scale=0.1)
    bias = first.constant(np.asarray(whole.tensor(3).data), scale=0.05)
    first.op("FULLY_CONNECTED", [x, weights, bias], [y], version=4)
    x = second.input((1, 3), scale=0.25, zero_point=2)
    second.op("SOFTMAX", [x], [second.output((1, 3), scale=1 / 256, zero_point=-128)], version=2, beta=1.0)
    paths = folder / "first.tflite", folder / "second.tflite"
    paths[0].write_bytes(first.build())
    paths[1].write_bytes(second.build())
    return paths


@pytest.fixture
def plain(tmp_path: Path) -> Bundle:
    return bundle.write(quantized(tmp_path), CORAL, (), LABELS, tmp_path / "bundle")


@pytest.fixture
def compiled(tmp_path: Path) -> Bundle:
    model = quantized(tmp_path)
    return bundle.write(model, CORAL, [model.path], LABELS, tmp_path / "bundle")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for libedgetpu."""
    if shutil.which("gcc") is None:
        pytest.skip("not installed: gcc")
    path = tmp_path_factory.mktemp("library") / "libedgetpu.so.1"
    source = Path(__file__).with_name("stand_in_edgetpu.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", path, source], check=True, timeout=60)
    return path


def run(made: Bundle, samples: int = 9, **options: str) -> DeviceRun:
    return deploy.run(made, given(made, samples), Place(), **options)


def given(made: Bundle, samples: int = 9) -> vectors.Vectors:
    model = QuantizedModel(made.folder / f"{made.name}.tflite", made.model_sha256, made.name, made.inputs, made.outputs)
    return vectors.make(model, samples, 0)


def runner(made: Bundle, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", made.folder / bundle.RUNNER, *words],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **settings},
    )  # fmt: skip


# What is in it


def test_a_bundle_stands_alone_and_says_what_is_in_it(compiled: Bundle) -> None:
    assert set(compiled.files) == {path.name for path in compiled.folder.iterdir()} == {
        "SHA256SUMS", "README.md", "contract.json", "labels.txt", "model.service", "requirements.txt", "run_model.py",
        "small.tflite", "small_edgetpu.tflite",
    }  # fmt: skip
    stated = json.loads((compiled.folder / "contract.json").read_text())
    assert stated["inputs"] == [{"name": "t0", "shape": [1, 4], "dtype": "int8", "scale": 0.5, "zero_point": -1}]
    assert stated["compiled"] == ["small_edgetpu.tflite"]
    assert (compiled.folder / "labels.txt").read_text().split() == list(LABELS)
    assert "small_edgetpu.tflite" in (compiled.folder / "README.md").read_text()
    unit = (compiled.folder / "model.service").read_text()
    assert "run_model.py serve" in unit
    assert "SupplementaryGroups=plugdev" in unit


def test_the_manifest_is_what_sha256sum_reads(plain: Bundle) -> None:
    checked = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=plain.folder, timeout=30, check=False)
    assert checked.returncode == 0


def test_equal_models_give_equal_bundles(tmp_path: Path) -> None:
    model = quantized(tmp_path)
    made = [bundle.write(model, CORAL, (), LABELS, tmp_path / name) for name in ("a", "b")]
    assert made[0].identity == made[1].identity


@pytest.mark.parametrize("name", ["coral_usb", "coral_pcie", "coral_dev_board", "coral_dev_board_mini"])
def test_the_runner_is_python_that_the_board_has(name: str, tmp_path: Path) -> None:
    made = bundle.write(quantized(tmp_path), board.load(name), (), LABELS, tmp_path / "bundle")
    source = (made.folder / bundle.RUNNER).read_text()
    coral = board.load(name).edgetpu
    assert coral is not None
    ast.parse(source, feature_version=(3, int(coral.python.split(".")[1])))
    # What came later than 3.7 without new syntax.
    for later in ("removeprefix", "removesuffix", "math.prod", "functools.cache", "list[", "dict[", "zip(strict"):
        assert later not in source


def test_the_requirements_are_pinned_and_name_no_pycoral(plain: Bundle) -> None:
    lines = (plain.folder / "requirements.txt").read_text().splitlines()
    asked = [line.partition(";")[0].strip() for line in lines if not line.startswith("#")]
    assert asked
    assert all("==" in requirement for requirement in asked)
    assert not any(requirement.startswith("pycoral") for requirement in asked)


def test_a_board_without_an_edge_tpu_gets_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="native has no Edge TPU"):
        bundle.write(quantized(tmp_path), board.load("native"), (), (), tmp_path / "bundle")


def test_a_folder_in_use_is_not_written_into(tmp_path: Path, plain: Bundle) -> None:
    with pytest.raises(RequestError, match="not an empty folder"):
        bundle.write(quantized(tmp_path), CORAL, (), (), plain.folder)


# Edited bundles


def edit_model(folder: Path) -> None:
    content = bytearray((folder / "small.tflite").read_bytes())
    content[-20] ^= 1
    (folder / "small.tflite").write_bytes(content)


def edit_model_and_its_hash(folder: Path) -> None:
    edit_model(folder)
    lines = [line for line in (folder / "SHA256SUMS").read_text().splitlines() if "small.tflite" not in line]
    lines.append(f"{hashlib.sha256((folder / 'small.tflite').read_bytes()).hexdigest()}  small.tflite")
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n")


EDITS = {
    "a bit of the model": (edit_model, "small.tflite is not what was written"),
    "a module beside the runner": (lambda f: (f / "numpy.py").write_text("x"), "numpy.py does not belong"),
    "a file that is lost": (lambda f: (f / "labels.txt").unlink(), "labels.txt is missing"),
    "a manifest that is lost": (lambda f: (f / "SHA256SUMS").unlink(), "SHA256SUMS"),
    "a manifest of something else": (lambda f: (f / "SHA256SUMS").write_text("x\n"), "SHA256SUMS is not what was"),
    "a path in the manifest": (
        lambda f: (f / "SHA256SUMS").write_text(f"{'0' * 64}  ../x\n"),
        "SHA256SUMS is not what was",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_bundle_is_refused_by_host_and_runner(name: str, plain: Bundle) -> None:
    edit, said = EDITS[name]
    edit(plain.folder)
    with pytest.raises(DataError, match=said):
        bundle.load(plain.folder)
    with pytest.raises(DataError):
        run(plain)
    refused = runner(plain, "info")
    assert refused.returncode == 1
    assert said.split()[0] in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_bundle_whose_hashes_were_edited_with_it_is_another_bundle(plain: Bundle) -> None:
    edit_model_and_its_hash(plain.folder)
    assert bundle.load(plain.folder).identity != plain.identity
    with pytest.raises(DataError, match=f"not {plain.identity[:16]}"):
        run(plain)
    assert "SHA256SUMS is not what was written" in runner(plain, "info", "--expect", plain.identity).stderr


# The runner


def test_without_a_compiled_model_the_cpu_answers_and_says_so(plain: Bundle) -> None:
    found = run(plain)
    assert (found.device, found.trouble) == ("cpu", None)
    assert found.reason == "the bundle has no compiled model"
    assert found.repeats
    assert len(found.passes) == 2
    model = QuantizedModel(plain.folder / "small.tflite", plain.model_sha256, "small", plain.inputs, plain.outputs)
    expected, why = litert(model, given(plain).inputs)
    assert expected is not None, why
    assert np.max(np.abs(expected.outputs[0].astype(int) - found.outputs[0].astype(int))) <= 16  # 64 * scale 0.25
    latency = [found.latency_us[f"p{p}"] for p in (50, 90, 99, 100)]
    assert all(value is not None and value > 0 for value in latency)
    assert latency == sorted(latency)


def test_with_a_library_and_a_device_the_edge_tpu_answers(
    compiled: Bundle, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGETPU_LIBRARY", str(library))
    found = run(compiled, device="edgetpu")
    assert (found.device, found.reason, found.repeats) == ("edgetpu", "", True)
    assert found.versions["edgetpu_runtime"] == "13"
    assert found.outputs[0].tobytes() == run(compiled, device="cpu").outputs[0].tobytes()


def test_segments_hand_their_tensors_on(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETPU_LIBRARY", str(library))
    made = bundle.write(quantized(tmp_path), CORAL, halves(tmp_path), LABELS, tmp_path / "bundle")
    assert made.compiled == ("small_segment_0_of_2_edgetpu.tflite", "small_segment_1_of_2_edgetpu.tflite")
    found = run(made, device="edgetpu")
    assert found.outputs[0].tobytes() == run(made, device="cpu").outputs[0].tobytes()


def sysfs(root: Path, usb: bool = False, pci: bool = False) -> Path:
    if usb:
        device = root / "sys/bus/usb/devices/1-1"
        device.mkdir(parents=True)
        for name, value in {"idVendor": "18d1", "idProduct": "9302", "busnum": "1", "devnum": "7"}.items():
            (device / name).write_text(f"{value}\n")
    if pci:
        device = root / "sys/bus/pci/devices/0000:01:00.0"
        device.mkdir(parents=True)
        (device / "vendor").write_text("0x1ac1\n")
        (device / "device").write_text("0x089a\n")
    root.mkdir(exist_ok=True)
    return root


TROUBLES = {
    "library-missing": {"EDGETPU_LIBRARY": "libedgetpu-absent.so.1"},
    "no-device": {"EDGETPU_STAND_IN": "no device"},
    "usb-permission": {"EDGETPU_STAND_IN": "no device", "usb": "1"},
    "pcie-driver": {"EDGETPU_STAND_IN": "no device", "pci": "1"},
    "runtime-too-old": {"EDGETPU_STAND_IN": "too old"},
    "abi-mismatch": {"EDGETPU_STAND_IN": "crash"},
}


@pytest.mark.parametrize("kind", TROUBLES)
def test_each_trouble_of_the_edge_tpu_is_told_from_the_others(
    kind: str, compiled: Bundle, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dict(TROUBLES[kind])
    root = sysfs(tmp_path / "root", usb="usb" in settings, pci="pci" in settings)
    monkeypatch.setenv("EDGETPU_ROOT", str(root))
    monkeypatch.setenv("EDGETPU_LIBRARY", str(library))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    found = run(compiled)
    assert (found.device, found.trouble) == ("cpu", kind)
    assert found.reason
    known = troubles.by_kind(kind, troubles.RUNTIME)
    with pytest.raises(DeviceError) as e:
        run(compiled, device="edgetpu")
    assert e.value.hint == known.remedy
    assert known.cause.lower() in e.value.message.lower()


def test_a_library_of_another_system_is_an_abi_mismatch(
    compiled: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "libedgetpu.so.1").write_bytes(b"not a library" * 100)
    monkeypatch.setenv("EDGETPU_LIBRARY", str(tmp_path / "libedgetpu.so.1"))
    assert run(compiled).trouble == "abi-mismatch"


def test_a_library_without_its_functions_is_an_abi_mismatch(
    compiled: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("not installed: gcc")
    source = tmp_path / "empty.c"
    source.write_text("int nothing;\n")
    path = tmp_path / "libedgetpu.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", path, source], check=True, timeout=60)
    monkeypatch.setenv("EDGETPU_LIBRARY", str(path))
    assert run(compiled).trouble == "abi-mismatch"


def test_a_package_that_needs_a_newer_runtime_is_told_before_it_is_loaded(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGETPU_LIBRARY", str(library))
    model = quantized(tmp_path)
    made = bundle.write(model, CORAL, [model.path], LABELS, tmp_path / "bundle", min_runtime_version=14)
    found = run(made)
    assert found.trouble == "runtime-too-old"
    assert "(14), which is newer than this runtime version (13)" in found.reason


PREPROCESS = """
import numpy, sys
sys.path.insert(0, sys.argv[1])
from run_model import Model
raw = numpy.load(sys.argv[2])
model = Model(device="cpu")
numpy.save(sys.argv[2], numpy.stack([model.preprocess(sample)[0] for sample in raw]))
"""


@pytest.mark.parametrize("raw", ["uint8", "int16", "float32"])
def test_raw_values_become_the_codes_that_the_host_makes_of_them(raw: str, tmp_path: Path) -> None:
    scale = tuple(float(np.float32(value)) for value in (0.37, 0.011, 1 / 255, 2.5))
    stated = contract.Contract(raw, scale, (0.0, -1.5, 0.125, 3.0))
    made = bundle.write(quantized(tmp_path), CORAL, (), LABELS, tmp_path / "bundle", contract=stated)
    assert json.loads((made.folder / "contract.json").read_text())["preprocessing"] == stated.as_json()
    assert f"Raw input is {raw}, channels last: `Model.preprocess`" in (made.folder / "README.md").read_text()
    values = {"uint8": np.arange(256), "int16": np.arange(-(2**15), 2**15), "float32": np.arange(-512, 512) / 2}[raw]
    samples = np.repeat(values[:, np.newaxis], 4, axis=1).astype(raw)
    np.save(tmp_path / "raw.npy", samples)
    command = [sys.executable, "-B", "-c", PREPROCESS, str(made.folder), str(tmp_path / "raw.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    expected = data.quantized(stated.real(samples), made.inputs[0])
    assert len(np.unique(expected)) > 60
    assert np.load(tmp_path / "raw.npy").tobytes() == expected.tobytes()


def test_a_bundle_without_a_contract_does_not_guess_what_raw_values_are(plain: Bundle, tmp_path: Path) -> None:
    np.save(tmp_path / "raw.npy", np.zeros((1, 4), np.uint8))
    command = [sys.executable, "-B", "-c", PREPROCESS, str(plain.folder), str(tmp_path / "raw.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "the recipe did not say what raw input is" in done.stderr


def test_raw_samples_are_classified_as_their_codes_are(tmp_path: Path) -> None:
    stated = contract.Contract("uint8", (0.125,), (-4.0,))
    made = bundle.write(quantized(tmp_path), CORAL, (), LABELS, tmp_path / "bundle", contract=stated)
    raw = np.random.default_rng(1).integers(0, 256, (5, 4)).astype(np.uint8)
    codes = data.quantized(stated.real(raw), made.inputs[0])
    told = []
    for arrays in ({"raw": raw}, {"input_0": codes.reshape(5, 1, 4)}, {"raw": raw.astype(np.int16)}):
        np.savez(tmp_path / "in.npz", **arrays)
        told.append(runner(made, "classify", "--device", "cpu", str(tmp_path / "in.npz")))
    assert told[0].returncode == 0, told[0].stderr
    assert told[0].stdout == told[1].stdout and len(set(told[0].stdout.splitlines())) == 5
    assert told[2].returncode == 1 and "raw input is int16; uint8 is needed" in told[2].stderr


def test_info_and_classify_are_for_people(compiled: Bundle, tmp_path: Path) -> None:
    told = runner(compiled, "info", EDGETPU_LIBRARY="libedgetpu-absent.so.1")
    assert told.returncode == 0
    assert "runs on: cpu" in told.stdout
    assert "libedgetpu1-std" in told.stdout
    np.savez(tmp_path / "in.npz", input_0=given(compiled, 2).inputs[0])
    told = runner(compiled, "classify", "--device", "cpu", str(tmp_path / "in.npz"))
    assert told.returncode == 0, told.stderr
    assert len(told.stdout.splitlines()) == 2
    assert set(LABELS) & set(told.stdout.replace(",", " ").split())


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04"])
def test_bad_input_is_told_without_a_traceback(content: bytes, plain: Bundle, tmp_path: Path) -> None:
    (tmp_path / "in.npz").write_bytes(content)
    told = runner(plain, "classify", str(tmp_path / "in.npz"))
    assert told.returncode == 1
    assert "Traceback" not in told.stderr


def test_a_service_answers_on_its_socket(plain: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "s"
    words = [
        sys.executable,
        "-B",
        plain.folder / bundle.RUNNER,
        "serve",
        str(path),
        "--device",
        "cpu",
        "--clients",
        "1",
    ]
    sample = given(plain, 4).inputs[0]
    with subprocess.Popen(words) as server:
        try:
            for _ in range(300):  # until it listens
                if path.exists() or server.poll() is not None:
                    break
                time.sleep(0.1)
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30)
                client.connect(str(path))
                answers = []
                for row in sample:
                    client.sendall(row.tobytes())
                    answers.append(client.recv(3, socket.MSG_WAITALL))
            assert server.wait(30) == 0
        finally:
            server.kill()
    assert b"".join(answers) == run(plain, 4).outputs[0].tobytes()


def test_a_device_that_repeats_itself_otherwise_is_noticed(plain: Bundle) -> None:
    found = run(plain)
    assert found.repeats
    assert not replace(found, passes=(found.passes[0], "0" * 64)).repeats
