"""Functions of the user's own in Python files: what a recipe calls to get its model and its data.

They run in the worker process only (pipeline.train_worker). The parent asks what their result depends on: their
source files, and the versions of the packages these import.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import RecipeError

_WRITTEN = re.compile(r"(?P<path>.+\.py):(?P<function>[A-Za-z_][A-Za-z0-9_]*)")
_MAX_SOURCE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Factory:
    """A function without arguments in a Python file."""

    path: Path
    function: str

    def __str__(self) -> str:
        return f"{self.path}:{self.function}"


def parse(text: str) -> Factory:
    """Read `file.py:function`.

    Raises:  ValueError: it is written otherwise.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not file.py:function")
    return Factory(Path(match["path"]), match["function"])


def sources(path: Path) -> tuple[Path, ...]:
    """A Python file, and the files in its folder (and folders below) that it imports, and those they import.

    Imports are read from the source, so those made by name at run time are not seen.
    """
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            for name in _imports(source, path.parent):
                waiting += _local(name, path.parent)
    return tuple(sorted(found))


def package_versions(paths: Iterable[Path], folder: Path) -> dict[str, str]:
    """Installed versions of the packages that source files import, those of `folder` and Python's own aside."""
    names = {name.partition(".")[0] for path in paths for name in _imports(path, folder)}
    names = {name for name in names - sys.stdlib_module_names if not _local(name, folder)}
    if not names:
        return {}
    distributions = importlib.metadata.packages_distributions()
    owners = {owner for name in names for owner in distributions.get(name, ())}
    return {owner: importlib.metadata.version(owner) for owner in sorted(owners)}


def function(factory: Factory) -> Callable[[], Any]:
    """Load a factory's file and return its function; calling that runs the user's code.

    The file's own folder comes first on the module path, as it does for a script.

    Raises:  RecipeError: the file cannot be run, or has no such function; from the call: the user's code raised.
    """
    path, name = factory.path, factory.path.stem
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = sys.modules.get(name)
    if module is None:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise RecipeError(f"{path}: cannot be loaded as a Python file.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        run = spec.loader.exec_module
        _guarded(path, f"{path.name} raised", lambda: run(module))
    elif getattr(module, "__file__", None) != str(path):
        raise RecipeError(f"{path}: another module is already called {name!r}.", hint="give the file another name.")
    result = getattr(module, factory.function, None)
    if not callable(result):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == name]
        raise RecipeError(f"{path}: there is no function {factory.function!r}; it has {', '.join(own) or 'none'}.")
    return lambda: _guarded(path, f"{factory.function}() raised", result)


def _guarded(path: Path, what: str, call: Callable[[], Any]) -> Any:
    """Call the user's code. What it raises becomes an error at the last line of the user's own that was reached."""
    try:
        return call()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        traceback.print_exc()
        place, text = str(path), str(error)
        own = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename.startswith(f"{path.parent}{os.sep}")
        ]
        if isinstance(error, SyntaxError) and error.filename:
            place, text = f"{error.filename}:{error.lineno}", error.msg
        elif own:
            place = f"{own[-1].filename}:{own[-1].lineno}"
        words = " ".join(f"{type(error).__name__}: {text}".split())[:400].removesuffix(":")
        hint = None
        if isinstance(error, ModuleNotFoundError):
            hint = f"install the package that has {error.name!r}, or put its file beside {path.name}."
        raise RecipeError(f"{place}: {what} {words}.", hint=hint) from error


def _imports(source: Path, folder: Path) -> Iterator[str]:
    """Dotted names of the modules that a source file imports; relative ones as seen from `folder`."""
    try:
        if source.stat().st_size > _MAX_SOURCE_BYTES:
            return
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return  # running it will say what is wrong
    package = source.parent.relative_to(folder).parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            if module:
                yield module
            yield from (f"{module}.{alias.name}".lstrip(".") for alias in node.names if alias.name != "*")


def _local(name: str, folder: Path) -> list[Path]:
    """The files of `folder` that importing a dotted name runs."""
    files = []
    place = folder
    for part in name.split("."):
        place = place / part
        files += [path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()]
    return files
