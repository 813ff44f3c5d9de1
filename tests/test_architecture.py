"""Who may import whom, and what nobody may do. Everything is read from the sources, nothing is imported."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PIPELINE = REPOSITORY / "pipeline"

# cli > run > stages > model, board > errors. What is not named here is a stage.
CLI = {"pipeline.cli", "pipeline.display", "pipeline.__main__"}
RUN = {"pipeline.run", "pipeline.verification", "pipeline.bench"}
VALUES = {"pipeline.model", "pipeline.board"}
ERRORS = {"pipeline.errors", "pipeline"}
LAYERS = (("cli", CLI), ("run", RUN), ("model, board", VALUES), ("errors", ERRORS))
RANKS = {"errors": 0, "model, board": 1, "stages": 2, "run": 3, "cli": 4}

# Packages that are heavy, or must stay out of the process that decides: who may import them, inside functions or not.
KERAS = {
    f"pipeline.{name}"
    for name in ("quantize", "keras_models", "qat", "quantizers", "sensitivity", "convert", "train_worker")
}
RESERVED = {
    "tensorflow": KERAS,
    "tf_keras": KERAS,
    "keras": KERAS,
    "tensorflow_model_optimization": {"pipeline.qat", "pipeline.train_worker"},
    "tflite_micro": {"pipeline.interpreter_worker"},
    "tflite_runtime": {"pipeline.interpreter_worker"},
    "ai_edge_litert": {"pipeline.interpreter_worker"},
    "rich": {"pipeline.cli"},
    "argparse": CLI | {"pipeline.interpreter_worker", "pipeline.train_worker"},
    # What cannot be made safe for files from anywhere.
    "pickle": set(),
    "marshal": set(),
    "shelve": set(),
    "dill": set(),
    "joblib": set(),
}

MODULES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PIPELINE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(), str(path)) for name, path in MODULES.items()}


def imported(name: str) -> Iterator[tuple[str, int]]:
    """Every module that a module imports, anywhere in it, with the line."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, base]).rstrip(".")
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield (whole if whole in MODULES else base), node.lineno


def layer(module: str) -> str:
    return next((name for name, members in LAYERS if module in members), "stages")


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the dotted text of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout: which files belong to the repository is not known")
    return [REPOSITORY / name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file()]


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name: str) -> None:
    own = layer(name)
    for target, line in imported(name):
        if target.split(".")[0] == "pipeline":
            assert RANKS[layer(target)] <= RANKS[own], (
                f"{MODULES[name]}:{line}: {name} ({own}) imports {target} ({layer(target)}); "
                "imports point one way: cli > run > stages > model, board > errors"
            )


def test_imports_make_no_circle() -> None:
    graph = {name: {t for t, _ in imported(name) if t in MODULES and t != name and t != "pipeline"} for name in MODULES}
    finished: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"import circle: {' > '.join((*path[path.index(name) :], name))}"
        if name not in finished:
            for target in sorted(graph[name]):
                walk(target, (*path, name))
            finished.add(name)

    for name in graph:
        walk(name, ())


@pytest.mark.parametrize("name", MODULES)
def test_reserved_packages_are_imported_only_where_they_belong(name: str) -> None:
    for target, line in imported(name):
        package = target.split(".")[0]
        if package in RESERVED:
            assert name in RESERVED[package], (
                f"{MODULES[name]}:{line}: {name} imports {target}; only {sorted(RESERVED[package]) or 'nobody'} may"
            )


@pytest.mark.parametrize("name", sorted(MODULES.keys() - {"pipeline.cli"}))
def test_only_the_command_line_prints(name: str) -> None:
    lines = [node.lineno for called, node in calls(TREES[name]) if called in {"print", "pprint", "input"}]
    assert not lines, f"{MODULES[name]}: lines {lines} print; a stage uses logging and the progress callback"


@pytest.mark.parametrize("name", MODULES)
def test_no_assert_outside_of_tests(name: str) -> None:
    lines = [node.lineno for node in ast.walk(TREES[name]) if isinstance(node, ast.Assert)]
    assert not lines, (
        f"{MODULES[name]}: lines {lines}; user mistakes are errors.py classes, broken invariants ValueError"
    )


UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load",
                "yaml.full_load", "yaml.load_all", "tempfile.mktemp"}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_no_unsafe_calls(name: str) -> None:
    for called, node in calls(TREES[name]):
        where = f"{MODULES[name]}:{node.lineno}"
        assert called not in UNSAFE_CALLS, f"{where}: {called}"
        for keyword in node.keywords:
            value = ast.unparse(keyword.value)
            assert not (keyword.arg == "shell" and value != "False"), f"{where}: {called}(shell={value})"
            assert not (keyword.arg == "allow_pickle" and value != "False"), f"{where}: {called}(allow_pickle={value})"


@pytest.mark.parametrize("name", MODULES)
def test_every_subprocess_has_a_timeout(name: str) -> None:
    for called, node in calls(TREES[name]):
        if called in {"subprocess.run", "subprocess.check_output", "subprocess.check_call", "subprocess.call"}:
            assert any(k.arg == "timeout" for k in node.keywords), (
                f"{MODULES[name]}:{node.lineno}: {called}, no timeout"
            )


@pytest.mark.parametrize("name", MODULES)
def test_every_module_and_public_function_says_what_it_is_for(name: str) -> None:
    tree = TREES[name]
    if tree.body:
        assert ast.get_docstring(tree), f"{MODULES[name]}: no docstring"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            trivial = len(node.body) == 1 and isinstance(node.body[0], ast.Return)
            plain_keys = isinstance(node, ast.ClassDef) and "TypedDict" in map(ast.unparse, node.bases)
            assert trivial or plain_keys or ast.get_docstring(node), (
                f"{MODULES[name]}:{node.lineno}: {node.name} has no docstring"
            )


def test_nothing_is_named_after_nothing() -> None:
    for path in tracked_files():
        words = set(re.split(r"[^a-z]+", path.stem.lower()))
        empty = words & {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
        assert not empty, f"{path}: a file is named after what it owns, not {empty}"


# Written so that this file does not hold what it looks for.
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.{}<>*~-])/(?:work|root|tmp)\b"),
    "a package registry's address": re.compile(
        r"py[p]i\.org|python[h]osted\.org|(?:deb|ftp|security)\.debia[n]\.org|archive\.ubunt[u]\.com"
        r"|(?:registry|api|dl)\.platformi[o]\.org|registry\.npmj[s]\.org"
    ),
    "an issue's number": re.compile(r"\b[Ii]ssu[e]s? #?\d"),
}


def test_the_repository_names_no_machine_no_registry_and_no_issue() -> None:
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" in content or path.name == "LICENSE":
            continue
        for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
            for what, pattern in FORBIDDEN.items():
                found = pattern.search(line)
                assert not found, f"{path}:{number}: {what}: {found.group() if found else ''}"


@pytest.mark.parametrize("path", sorted((REPOSITORY / "firmware" / "kernels").glob("*.c")), ids=lambda path: path.name)
def test_every_kernel_begins_with_its_contract(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("/*"), f"{path}: the first thing in a kernel is its contract, a comment"
    contract = text[: text.index("*/")]
    for word in ("input", "output", "Overflow", "Scratch"):
        assert word.lower() in contract.lower(), f"{path}: its contract does not say: {word}"
    assert path.with_suffix(".h").exists(), f"{path}: no header of that name"


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "firmware" / "kernels").glob("*.[ch]")), ids=lambda path: path.name
)
def test_kernels_use_no_heap_no_globals_and_no_assert(path: Path) -> None:
    code = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.DOTALL)
    assert not re.search(r"\b(malloc|calloc|realloc|free|alloca|assert|printf)\s*\(", code), path
    for line in code.splitlines():
        # At file scope, what is static and is neither a function nor const would be a global.
        is_variable = re.match(r"static\s+(?!inline\b)(?!.*\bconst\b)[^()]*(=|;)", line)
        assert not is_variable, f"{path}: a global: {line}"


def test_the_import_rule_would_be_noticed_when_broken() -> None:
    broken = ast.parse("from pipeline.cli import main\nimport tensorflow as tf\nimport pipeline.run\n")
    TREES["pipeline.errors"], kept = broken, TREES["pipeline.errors"]
    try:
        with pytest.raises(AssertionError, match=r"imports pipeline\.cli \(cli\)"):
            test_imports_point_one_way("pipeline.errors")
        with pytest.raises(AssertionError, match="imports tensorflow"):
            test_reserved_packages_are_imported_only_where_they_belong("pipeline.errors")
    finally:
        TREES["pipeline.errors"] = kept
