"""The compiler's wrapper, against a stand-in that behaves as the real program is documented to behave.

The real edgetpu_compiler is closed and was not there when this was written: stand_in_compiler.py plays it.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline import lifetime, tflite
from pipeline.edgetpu import compiler, troubles
from pipeline.edgetpu.compiler import Compiled, CompileOptions, compile_models
from pipeline.errors import ModelError, RequestError, ToolError, UnsupportedError
from tests.test_cli import small_model

STAND_IN = Path(__file__).with_name("stand_in_compiler.py")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "my model.tflite"
    path.write_bytes(small_model().build())
    return path


def stand_in(behaviour: str) -> str:
    return shlex.join([sys.executable, str(STAND_IN), behaviour])


def compiled(model: Path, behaviour: str, *more: Path, **options: int) -> Compiled:
    return compile_models([model, *more], CompileOptions(command=stand_in(behaviour), **options), model.parent / "out")


def packages(model: Path) -> list[str]:
    return sorted(path.name for path in (model.parent / "out").glob("*.tflite"))


def test_a_whole_model_becomes_one_package(model: Path) -> None:
    found = compiled(model, "success")
    (made,) = found.models
    (segment,) = made.segments
    assert (made.ops, made.on_edgetpu, made.on_cpu) == (2, 2, 0)
    assert (segment.subgraphs, segment.cpu_ops, segment.said_operations) == (1, (), 2)
    assert segment.cached_bytes == 2560
    assert segment.remaining_bytes == round(7.62 * 2**20)
    assert segment.streamed_bytes == 0
    assert {(row.op, row.count, row.mapped) for row in segment.operations} == {
        ("FULLY_CONNECTED", 1, True),
        ("SOFTMAX", 1, True),
    }
    assert found.compiler == "16.0.384591198"
    assert [a.exit_code for a in found.attempts] == [0]
    assert found.disagreements == ()
    assert tflite.read(segment.path).sha256 == segment.sha256
    assert packages(model) == ["my_model_edgetpu.tflite"]
    assert "Compilation succeeded!" in found.log.read_text()
    json.dumps(found.as_json())


def test_what_is_left_to_the_cpu_is_read_from_the_file(model: Path) -> None:
    (made,) = compiled(model, "partial").models
    assert (made.on_edgetpu, made.on_cpu) == (1, 1)
    assert made.segments[0].cpu_ops == ("SOFTMAX",)
    assert (made.segments[0].said_on_edgetpu, made.segments[0].said_on_cpu) == (1, 1)


def test_a_log_that_contradicts_the_file_is_told(model: Path) -> None:
    found = compiled(model, "lies")
    assert found.disagreements == (
        "my_model_edgetpu.tflite: the compiler says 0 ops are left to the CPU, the file has 1 (SOFTMAX).",
    )


def test_a_prediction_that_was_wrong_is_told(model: Path) -> None:
    options = CompileOptions(command=stand_in("partial"))
    found = compile_models([model], options, model.parent / "out", predictions={model: (2, 0)})
    assert found.disagreements == ("my model.tflite: 0 ops on the CPU were predicted, the compiled file has 1.",)


def test_a_success_with_nothing_mapped_is_a_failure(model: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"calls it a success, but no op is mapped.*unsupported data type") as e:
        compiled(model, "zero")
    assert e.value.hint is not None
    assert "int8 or uint8" in e.value.hint
    assert packages(model) == []


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("exits 0 with a stub", "left a stub of 1,024 bytes"),
        ("nothing", "made no my_model_edgetpu.tflite"),
        ("garbage", "made no my_model_edgetpu.tflite"),
    ],
)
def test_a_success_without_a_package_is_a_failure(behaviour: str, said: str, model: Path) -> None:
    with pytest.raises(ToolError, match=said) as e:
        compiled(model, behaviour)
    assert e.value.exit_code == 3
    assert packages(model) == []


def test_a_random_failure_is_tried_again(model: Path) -> None:
    found = compiled(model, "fails twice")
    assert [(a.exit_code, a.trouble) for a in found.attempts] == [(1, "silent"), (1, "silent"), (0, None)]
    assert packages(model) == ["my_model_edgetpu.tflite"]


def test_the_search_for_a_partition_comes_last(model: Path) -> None:
    found = compiled(model, "needs the search")
    assert ["-d" in a.arguments for a in found.attempts] == [False, False, False, True]
    assert found.attempts[-1].arguments[-3:] == ("-d", "-k", "1")
    assert found.attempts[-1].exit_code == 0
    assert found.models[0].segments[0].cached_bytes == 2560  # of the try that succeeded, among those that did not


def test_what_always_fails_fails_in_the_end_and_leaves_no_stub(model: Path) -> None:
    with pytest.raises(ToolError, match=r"failed with exit code 1 4 times, .*\(-d\): .*Compilation failed!"):
        compiled(model, "always fails")
    assert packages(model) == []
    assert (model.parent / "out" / "edgetpu_compiler.log").read_text().count("[exit code 1]") == 4


def test_a_crash_is_tried_again_and_named(model: Path) -> None:
    with pytest.raises(ToolError, match=r"died of SIGSEGV 4 times"):
        compiled(model, "segfault")


def test_a_compiler_that_hangs_is_ended(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_GRACE_S", 0.0)
    with pytest.raises(ToolError, match=r"was stopped after 1 s .*did not end") as e:
        compiled(model, "hang", timeout_s=1)
    assert e.value.hint is not None
    assert "--timeout" in e.value.hint


def test_a_compiler_that_never_stops_talking_is_ended(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_MAX_OUTPUT_BYTES", 1 << 20)
    with pytest.raises(ToolError, match="1 MiB of output"):
        compiled(model, "flood")


TOLD = [t for t in troubles.COMPILER if t.pattern and not t.again and t.kind != "timeout"]


@pytest.mark.parametrize("trouble", TOLD, ids=[t.kind for t in TOLD])
def test_every_known_message_becomes_its_cause_and_its_remedy(trouble: troubles.Trouble, model: Path) -> None:
    with pytest.raises(UnsupportedError) as e:
        compiled(model, f"says:{trouble.says}")
    assert trouble.cause in e.value.message
    assert e.value.hint == trouble.remedy
    assert packages(model) == []
    tries = (model.parent / "out" / "edgetpu_compiler.log").read_text().count("[exit code 1]")
    assert tries == (2 if trouble.kind == "large-activation" else 1)


@pytest.mark.slow
@pytest.mark.parametrize("says", ["Internal compiler error. Aborting!", "terminate called ... std::out_of_range"])
def test_faults_of_the_compilers_own_are_tried_again(says: str, model: Path) -> None:
    with pytest.raises(ToolError, match="4 times"):
        compiled(model, f"says:{says}")


def test_no_message_is_taken_for_another() -> None:
    for table in (troubles.COMPILER, troubles.STATUS, troubles.RUNTIME):
        for trouble in table:
            if trouble.pattern:
                assert troubles.explain(trouble.says, table) == trouble


def test_the_compilers_own_success_matches_no_trouble(model: Path) -> None:
    assert troubles.explain(compiled(model, "partial").log.read_text(), troubles.COMPILER) is None


def test_segments_are_read_one_by_one(model: Path) -> None:
    found = compiled(model, "success", segments=2)
    (made,) = found.models
    assert [s.path.name for s in made.segments] == [
        "my_model_segment_0_of_2_edgetpu.tflite",
        "my_model_segment_1_of_2_edgetpu.tflite",
    ]
    assert all(s.subgraphs == 1 and s.cached_bytes == 2560 and s.operations for s in made.segments)
    assert "-n" in found.attempts[0].arguments


def test_models_that_share_the_chip_are_compiled_together(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "my model.tflite"
    other.parent.mkdir()
    other.write_bytes(small_model().build())
    found = compiled(model, "success", other)
    assert len(found.attempts) == 1
    assert [m.source for m in found.models] == [model, other]
    assert packages(model) == ["my_model_2_edgetpu.tflite", "my_model_edgetpu.tflite"]


def test_the_part_ends_where_it_is_asked_to(model: Path) -> None:
    options = CompileOptions(command=stand_in("success"), cut=("t1",))
    found = compile_models([model], options, model.parent / "out")
    assert "-i t1" in " ".join(found.attempts[0].arguments)
    with pytest.raises(RequestError, match="no op computes a tensor of the name 'nowhere'"):
        compile_models([model], CompileOptions(command=stand_in("success"), cut=("nowhere",)), model.parent / "out")
    with pytest.raises(RequestError, match="several models cannot be cut"):
        compile_models([model, model], options, model.parent / "out")


def test_the_search_has_time_for_all_its_tries(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    real = lifetime.wait

    def wait(process: subprocess.Popen[bytes], files: Sequence[Path], most: int, timeout_s: float) -> int | None:
        waited.append(timeout_s)
        return real(process, files, most, timeout_s)

    monkeypatch.setattr(lifetime, "wait", wait)
    compiled(model, "needs the search", timeout_s=20)
    assert waited == [30, 30, 30, 30 * compiler.SEARCH_TRIES]


def test_an_older_runtime_is_asked_for(model: Path) -> None:
    assert "-m 13" in " ".join(compiled(model, "success", min_runtime_version=13).attempts[0].arguments)


@pytest.mark.parametrize(
    "options", [{"segments": 0}, {"segments": 17}, {"min_runtime_version": 9}, {"timeout_s": 0}], ids=str
)
def test_impossible_options_are_refused(options: dict[str, int], model: Path) -> None:
    with pytest.raises(RequestError):
        compiled(model, "success", **options)


def test_segments_of_several_models_are_refused(model: Path) -> None:
    with pytest.raises(RequestError, match="not both at once"):
        compiled(model, "success", model, segments=2)


def test_a_compiled_model_is_not_compiled_again(model: Path) -> None:
    (made,) = compiled(model, "success").models
    with pytest.raises(UnsupportedError, match="this is a compiled model"):
        compiled(made.segments[0].path, "success")


def test_a_damaged_model_is_refused_before_the_compiler_is_started(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:100])
    with pytest.raises(ModelError):
        compiled(model, "success")
    assert not (model.parent / "out").exists()


def test_without_the_compiler_the_hint_says_how_to_get_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(compiler.COMMAND_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(model.parent))
    with pytest.raises(ToolError, match="edgetpu_compiler is not installed") as e:
        compile_models([model], CompileOptions(), model.parent / "out")
    assert e.value.exit_code == 3
    assert e.value.hint is not None
    assert "signed-by=" in e.value.hint
    assert "docker run" in e.value.hint


def test_a_container_gets_the_folder_under_its_name(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # env plays the container: what is put into its arguments reaches the compiler.
    words = ["env", "FOLDER={folder}", sys.executable, str(STAND_IN), "success"]
    monkeypatch.setenv(compiler.COMMAND_VARIABLE, shlex.join(words))
    found = compile_models([model], CompileOptions(), model.parent / "out")
    assert "FOLDER={folder}" not in found.log.read_text()
    assert packages(model) == ["my_model_edgetpu.tflite"]


def test_a_command_that_cannot_be_read_is_refused(model: Path) -> None:
    with pytest.raises(RequestError, match="cannot be read"):
        compile_models([model], CompileOptions(command="docker 'run"), model.parent / "out")
