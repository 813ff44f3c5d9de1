import importlib.metadata
from pathlib import Path

import pytest

from pipeline import factory
from pipeline.factory import Factory


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "main.py"


def names(folder: Path, paths: tuple[Path, ...]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_factory_is_written_as_file_and_function() -> None:
    assert factory.parse("a/b.py:load") == Factory(Path("a/b.py"), "load")
    assert str(factory.parse("a/b.py:load")) == "a/b.py:load"


@pytest.mark.parametrize("text", ["", "b.py", "b:load", "b.py:", "b.py:1x", "b.py:a.b", "b.py:f()", ":load"])
def test_a_factory_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not file\.py:function"):
        factory.parse(text)


def test_the_sources_are_the_files_that_are_imported_and_what_they_import(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main="import first\nfrom second import thing\nimport json",
        first="def f():\n    import third",
        second="",
        third="import first",
        unrelated="",
    )
    assert names(tmp_path, factory.sources(main)) == ["first.py", "main.py", "second.py", "third.py"]


def test_the_sources_include_packages_and_relative_imports(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main="import parts.one",
        parts__one="from . import two\nfrom .three import x",
        parts__two="",
        parts__three="from .. import shared",
        parts__four="",
        shared="",
    )
    (tmp_path / "parts" / "__init__.py").touch()
    assert set(names(tmp_path, factory.sources(main))) >= {
        "main.py",
        "parts/__init__.py",
        "parts/one.py",
        "parts/two.py",
        "parts/three.py",
        "shared.py",
    }
    assert tmp_path / "parts" / "four.py" not in factory.sources(main)


def test_a_file_that_is_no_python_is_its_own_source(tmp_path: Path) -> None:
    main = write(tmp_path, main="import first (")
    assert factory.sources(main) == (main,)


def test_versions_are_those_of_the_packages_that_are_imported(tmp_path: Path) -> None:
    main = write(
        tmp_path, main="import yaml, json\nimport numpy.linalg\nimport numpy_like_of_mine", numpy_like_of_mine=""
    )
    assert factory.package_versions(factory.sources(main), tmp_path) == {
        "PyYAML": importlib.metadata.version("PyYAML"),
        "numpy": importlib.metadata.version("numpy"),
    }
