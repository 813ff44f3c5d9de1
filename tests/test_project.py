"""Projects: what is rendered, and what happens to what was there before."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import board, project, runtimes, tflite
from pipeline.errors import RequestError
from tests.test_cli import small_model
from tests.toy_export import toy_export

GOLDEN = Path(__file__).parent / "golden" / "project"
# What templates and data become. All else is copied from firmware/ or comes from the Export.
RENDERED = re.compile(
    r"platformio\.ini|README\.md|\.gitignore|src/.*|platform/linker\.ld|platform/boards/.*|lib/[a-z_]+/library\.json"
)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def compare_with_golden(folder: Path, found: Mapping[str, bytes]) -> None:
    """TENSORFLASH_UPDATE_GOLDEN=1 writes them anew, for a human to read the difference."""
    if os.environ.get("TENSORFLASH_UPDATE_GOLDEN") == "1":
        for path in tree(folder) if folder.is_dir() else ():
            (folder / path).unlink()
        for path, content in found.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    expected = tree(folder)
    assert sorted(found) == sorted(expected)
    for path, content in found.items():
        assert content.decode() == expected[path].decode(), path


@pytest.mark.parametrize("name", ["native", "qemu_cortex_m4", "qemu_riscv32"])
def test_rendered_files_are_the_golden_ones(name: str, tmp_path: Path) -> None:
    project.render(toy_export(), board.load(name), tmp_path / "out")
    found = {path: content for path, content in tree(tmp_path / "out").items() if RENDERED.fullmatch(path)}
    compare_with_golden(GOLDEN / name, found)


def test_the_library_is_the_golden_one(tmp_path: Path) -> None:
    project.render_library(toy_export(), tmp_path / "out")
    found = tree(tmp_path / "out")
    assert found["src/toy.c"] == toy_export().files["toy.c"]
    assert {"include/toy.h", "include/model.h", "src/kernels/add_table.c", "src/kernels/add_table.h"} < set(found)
    compare_with_golden(GOLDEN / "library", {p: found[p] for p in ("library.json", "examples/minimal/main.c")})


def test_the_c_of_the_readme_is_that_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "keyword.tflite").write_bytes(small_model().build())
    export = runtimes.export(tflite.read(tmp_path / "keyword.tflite"), board.load("native"), "aot")
    project.render_library(export, tmp_path / "keyword")
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```c\n(.*?)```", readme, re.S)
    include, _, statements = code.partition("\n\n")
    (tmp_path / "main.c").write_text(f"{include}\nint main(void) {{\n{statements}return input[0] + scores[0];\n}}\n")
    command = ["gcc", "-std=c11", "-Wall", "-Werror", "-fsyntax-only", "-Ikeyword/include", "main.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [b.id for b in board.all_boards() if b.edgetpu is None])
def test_platformio_finds_no_mistake_in_its_ini(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = pytest.importorskip("platformio.project.config")
    project.render(toy_export(), board.load(name), tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    assert config.ProjectConfig.lint("platformio.ini") == {"errors": [], "warnings": []}
    assert config.ProjectConfig("platformio.ini").envs() == list(project.ENVIRONMENTS)


def test_rendering_gives_the_same_bytes_twice_and_leaves_nothing_beside(tmp_path: Path) -> None:
    for name in ("a", "b"):
        project.render(toy_export(), board.load("qemu_cortex_m4"), tmp_path / name)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_no_path_of_this_machine_gets_into_a_project(tmp_path: Path) -> None:
    project.render(toy_export(), board.load("qemu_cortex_m4"), tmp_path / "out")
    for path, content in tree(tmp_path / "out").items():
        assert str(tmp_path).encode() not in content, path
        assert str(Path.home()).encode() + b"/" not in content, path


def test_provenance_says_where_the_project_comes_from(tmp_path: Path) -> None:
    project.render(toy_export(), board.load("native"), tmp_path / "out")
    record = json.loads((tmp_path / "out" / "tensorflash.json").read_text())
    assert record["model"] == {"name": "toy", "sha256": "5e" + "0" * 62}
    assert (record["board"], record["runtime"]) == ("native", "aot")
    assert sorted(record["files"]) == sorted(set(tree(tmp_path / "out")) - {"tensorflash.json"})


@pytest.mark.parametrize(
    "name", ["../evil", "a b", "int", "1st", "", "a" * 64, 'x"y', "tensorflash_port", "naïve", "a\n"]
)
def test_a_name_that_is_no_c_identifier_is_refused(name: str, tmp_path: Path) -> None:
    for export in (toy_export(name=name), toy_export(symbol=name)):
        with pytest.raises(RequestError, match="is not a C identifier"):
            project.render(export, board.load("native"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path", ["../evil.c", "/etc/evil.c", "a/../../evil.c", "a b.c", "c:\\evil.c", "./a.c", "a//b/./c"]
)
def test_an_export_cannot_write_outside_of_its_library(path: str, tmp_path: Path) -> None:
    export = toy_export()
    with pytest.raises(RequestError, match="not a plain relative path"):
        project.render(replace(export, files={**export.files, path: b""}), board.load("native"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_tensor_name_cannot_end_a_comment(tmp_path: Path) -> None:
    project.render(toy_export(tensor='in */ #include "evil.h"\n//'), board.load("native"), tmp_path / "out")
    code = (tmp_path / "out" / "src" / "app_main.c").read_text()
    assert "/* in_____include__evil.h____: int8 1x16" in code
    assert 'evil.h"' not in code


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    project.render(toy_export(), board.load("native"), tmp_path / "out")
    assert (tmp_path / "out" / "platformio.ini").is_file()


def test_a_folder_that_is_not_a_project_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(RequestError, match="something here that tensorflash did not write"):
        project.render(toy_export(), board.load("native"), tmp_path / "out")
    with pytest.raises(RequestError, match="something here that tensorflash did not write"):
        project.render_library(toy_export(), tmp_path / "out")
    assert tree(tmp_path / "out") == {"thesis.tex": b"years of work"}


def test_a_file_in_place_of_the_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RequestError):
        project.render(toy_export(), board.load("native"), tmp_path / "out")
    assert tree(tmp_path) == {"out": b"a file"}


@pytest.mark.parametrize(
    "record", ["", "[]", "{}", '{"files": 3}', '{"files": {}, "format": 99}', "\\xff", "[" * 100_000]
)
def test_a_damaged_record_is_no_traceback(record: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tensorflash.json").write_text(record)
    with pytest.raises(RequestError):
        project.render(toy_export(), board.load("native"), tmp_path / "out")


def test_a_record_that_names_foreign_files_is_refused(tmp_path: Path) -> None:
    project.render(toy_export(), board.load("native"), tmp_path / "out")
    (tmp_path / "victim").write_text("mine")
    path = tmp_path / "out" / "tensorflash.json"
    record = json.loads(path.read_text())
    record["files"]["../victim"] = "0" * 64
    path.write_text(json.dumps(record))
    with pytest.raises(RequestError, match="leads out of the project"):
        project.render(toy_export(), board.load("native"), tmp_path / "out")
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_render_that_dies_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0
    write_bytes = Path.write_bytes

    def full_disk(self: Path, content: bytes) -> int:
        nonlocal written
        written += 1
        if written > 5:
            raise OSError(28, "No space left on device")
        return write_bytes(self, content)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(RequestError, match="cannot be written: No space left on device"):
        project.render(toy_export(), board.load("native"), tmp_path / "out")
    assert written == 6
    assert list(tmp_path.iterdir()) == []


def test_an_update_keeps_what_is_the_users(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = project.render(toy_export(), board.load("qemu_cortex_m4"), out)
    assert (first.kept, first.replaced) == ((), ())
    (out / "src" / "app_main.c").write_text("int main(void) { return 42; }\n")
    (out / "src" / "main.c").write_text("int main(void) { return 43; }\n")
    (out / "src" / "mine.c").write_text("int mine;\n")
    (out / ".git").mkdir()
    (out / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    unchanged = (out / "lib" / "toy" / "src" / "toy.c").stat().st_mtime_ns

    second = project.render(toy_export(), board.load("native"), out)

    assert second.kept == ("src/app_main.c",)
    assert second.replaced == ("src/main.c",)
    assert (out / "src" / "app_main.c").read_text() == "int main(void) { return 42; }\n"
    assert (out / "src" / "main.c.bak").read_text() == "int main(void) { return 43; }\n"
    assert '"native"' in (out / "src" / "main.c").read_text()
    assert (out / "src" / "mine.c").is_file()
    assert (out / ".git" / "HEAD").is_file()
    assert (out / "lib" / "toy" / "src" / "toy.c").stat().st_mtime_ns == unchanged


def test_an_update_gives_what_a_new_project_would_be(tmp_path: Path) -> None:
    for name in ("qemu_cortex_m4", "native"):
        changed = project.render(toy_export(), board.load(name), tmp_path / "updated")
        assert (changed.kept, changed.replaced) == ((), ())
    project.render(toy_export(), board.load("native"), tmp_path / "new")
    assert tree(tmp_path / "updated") == tree(tmp_path / "new")


def test_a_file_the_user_kept_is_kept_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    project.render(toy_export(), board.load("native"), out)
    (out / "src" / "app_main.c").write_text("mine\n")
    for _ in range(2):
        assert project.render(toy_export(), board.load("native"), out).kept == ("src/app_main.c",)
    assert (out / "src" / "app_main.c").read_text() == "mine\n"
