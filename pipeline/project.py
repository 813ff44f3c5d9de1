"""The PlatformIO project: an Export and a board become a folder that stands alone.

platformio.ini           the environments release, verify and trace
src/app_main.c           release: the user's
src/main.c               verify and trace: the frames loop
src/mlperf_main.c, lib/tensorflash_mlperf_tiny/: the protocol of MLPerf Tiny's runner, where it was asked for
lib/<model>/             the Export
lib/tensorflash_frames/  the frame protocol
lib/tensorflash_port/    the board's byte stream, counter and start
platform/                how to build and run an emulated board without PlatformIO's registry
sdkconfig.defaults, src/CMakeLists.txt, src/idf_component.yml: what ESP-IDF needs
tensorflash.json         where it comes from, and the files that were written
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from pipeline import __version__, mlperf_tiny
from pipeline.aot.emit import C_TYPES
from pipeline.board import Board
from pipeline.errors import RequestError
from pipeline.model import Export, TensorSpec
from pipeline.rendering import render as render_template
from pipeline.tools import PROGRAMS

ENVIRONMENTS = ("release", "verify", "trace")
PROTOCOLS = ("mlperf-tiny",)  # beside the frames; its environment has the same name, with an underscore
PROVENANCE = "tensorflash.json"
YOURS = ("src/app_main.c",)

_FIRMWARE = Path(str(package_files("pipeline.firmware")))
_FORMAT = 1
_RESERVED = re.compile(
    "auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int|long|register|"
    "restrict|return|short|signed|sizeof|static|struct|switch|typedef|union|unsigned|void|volatile|while|main|"
    "(?i:tensorflash|tflash).*"
)


@dataclass(frozen=True)
class Project:
    """An emitted project. name is the model's; kept and replaced are files that the user had changed.

    kept were left as the user made them; of replaced, the user's version lies beside the new one, as <file>.bak.
    """

    path: Path
    board: Board
    name: str
    environments: tuple[str, ...] = ENVIRONMENTS
    kept: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


def render(export: Export, board: Board, out: Path, protocol: str | None = None) -> Project:
    """Write the project, or bring one that was written before up to date.

    A new folder appears complete or not at all. In an existing project only files that differ are replaced, one by one;
    files that tensorflash did not write are left alone.

    Args:    protocol: one of PROTOCOLS: adds the environment whose firmware speaks it.
    Raises:  RequestError: a name cannot go into C or a path; out is something else than a project of ours, or
             cannot be written; there is no such protocol. UnsupportedError: the protocol has no use for this model.
    """
    if protocol not in (None, *PROTOCOLS):
        raise RequestError(f"there is no protocol '{protocol}'; there is {', '.join(PROTOCOLS)}.")
    files = _project_files(export, board, protocol)
    kept, replaced = _write(out, files, _provenance(export, board.id, files, protocol))
    return Project(out, board, export.model.name, environments(export, protocol), kept=kept, replaced=replaced)


def render_library(export: Export, out: Path) -> None:
    """Write a PlatformIO library: the model's C API and an example, for a project of one's own.

    Raises:  RequestError: as render.
    """
    files = _library_files(export) | {"examples/minimal/main.c": _template("library/example.c", export)}
    _write(out, files, _provenance(export, None, files))


def environments(export: Export, protocol: str | None = None) -> tuple[str, ...]:
    """The environments of an export's projects: without a layer to show there is no trace."""
    extra = () if protocol is None else (protocol.replace("-", "_"),)
    return (*(ENVIRONMENTS if export.layers else ENVIRONMENTS[:2]), *extra)


def sources_digest() -> str:
    """One sha256 of all that projects are rendered from, besides the Export and the board."""
    result = hashlib.sha256()
    for path in sorted(p for p in _FIRMWARE.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        result.update(path.relative_to(_FIRMWARE).as_posix().encode() + b"\0" + path.read_bytes())
    return result.hexdigest()


def _project_files(export: Export, board: Board, protocol: str | None) -> dict[str, bytes]:
    library = f"lib/{export.model.name}"
    files = {f"{library}/{path}": content for path, content in _library_files(export).items()}
    for path in ("platformio.ini", "README.md", "src/main.c", "src/app_main.c"):
        files[path] = _template(f"project/{path}", export, board, protocol)
    files[".gitignore"] = _template("project/gitignore", export, board)
    files |= {f"lib/tensorflash_frames/src/{p}": c for p, c in _sources("frames", "*.c", "*.h").items()}
    files["lib/tensorflash_frames/library.json"] = _library_json("tensorflash_frames")
    if protocol is not None:
        files["src/mlperf_main.c"] = _template("project/src/mlperf_main.c", export, board, protocol)
        sources = _sources("mlperf_tiny", "*.c", "*.h") | _sources("kernels", "round_float.h")
        files |= {f"lib/tensorflash_mlperf_tiny/src/{p}": c for p, c in sources.items()}
        files["lib/tensorflash_mlperf_tiny/library.json"] = _library_json("tensorflash_mlperf_tiny")
    files |= {f"lib/tensorflash_port/src/{p}": c for p, c in _port_sources(board).items()}
    # Not an archive: nothing refers to a vector table.
    files["lib/tensorflash_port/library.json"] = _library_json("tensorflash_port", libArchive=False)
    if board.platformio is None:
        files |= _platform_files(export, board)
    elif board.platformio.framework == "espidf":
        for path in ("sdkconfig.defaults", "src/CMakeLists.txt"):
            files[path] = _template(f"espidf/{path}", export, board)
        if _components(export, board):
            files["src/idf_component.yml"] = _template("espidf/src/idf_component.yml", export, board)
    return files


def _platform_files(export: Export, board: Board) -> dict[str, bytes]:
    """The platform of the host and of emulated boards, which is part of the project."""
    files = {
        f"platform/{path}": (_FIRMWARE / "platform" / path).read_bytes()
        for path in ("platform.json", "platform.py", "builder/main.py")
    }
    files[f"platform/boards/{board.id}.json"] = _json(_platformio_board(board))
    if not board.is_host:
        files["platform/linker.ld"] = _template("project/linker.ld", export, board)
    return files


def _components(export: Export, board: Board) -> dict[str, str]:
    """The libraries that ESP-IDF's own registry brings: name -> version. A path or an address is PlatformIO's."""
    if board.platformio is None or board.platformio.framework != "espidf":
        return {}
    return dict(entry.rsplit("@", 1) for entry in export.lib_deps if "://" not in entry and "@" in entry)


def _lib_deps(export: Export, board: Board) -> tuple[str, ...]:
    components = _components(export, board)
    return tuple(entry for entry in export.lib_deps if entry.rsplit("@", 1)[0] not in components)


def _defines(export: Export, board: Board) -> dict[str, str]:
    """What a project's whole code has to agree on, as -D options of a real board."""
    defines: dict[str, str] = {}
    if board.platformio is not None and board.serial is not None:
        defines |= {"TFLASH_BAUD": str(board.serial.baud), **board.defines}
        if board.platformio.framework == "stm32cube":
            defines["TFLASH_CLOCK_MHZ"] = str((board.clock_hz or 0) // 1_000_000)
    return defines


def _library_files(export: Export) -> dict[str, bytes]:
    """The Export as a PlatformIO library: what an application includes in include/, the rest in src/."""
    _check_names(export)
    files = {"library.json": _template("library/library.json", export)}
    headers = {export.header} | ({export.contract.path} if export.contract else set())
    for path, content in export.files.items():
        folder = "include" if path in headers else "src"
        files[f"{folder}/{path}"] = content
    files["include/model.h"] = (_FIRMWARE / "runtime" / "model.h").read_bytes()
    return files


def _port_sources(board: Board) -> dict[str, bytes]:
    if board.is_host:
        return _sources("ports", "port.h", f"{board.port}.c")
    if board.is_hardware:
        return _sources("ports", "port.h", "framework.h", "hardware.c", f"{board.port}.c", f"{board.port}.cpp")
    return _sources("ports", "*.h", "emulated.c", f"{board.port}.c", f"{board.startup}.c")


def _sources(folder: str, *patterns: str) -> dict[str, bytes]:
    paths = sorted({path for pattern in patterns for path in (_FIRMWARE / folder).glob(pattern)})
    return {path.name: path.read_bytes() for path in paths}


def _library_json(name: str, **build: Any) -> bytes:
    manifest: dict[str, Any] = {"name": name, "version": "1.0.0", "frameworks": "*", "platforms": "*"}
    return _json(manifest | ({"build": build} if build else {}))


def _platformio_board(board: Board) -> dict[str, Any]:
    """The board as platform/builder/main.py and PlatformIO read it."""
    prefix = "" if board.toolchain is None else board.toolchain.prefix
    return {
        "name": board.title,
        "vendor": "tensorflash",
        "url": "https://www.qemu.org" if board.emulator else "https://gcc.gnu.org",
        "build": {
            "mcu": board.core,
            "f_cpu": f"{board.clock_hz or 0}L",
            "prefix": prefix,
            "cpu_flags": list(board.toolchain.cpu_flags) if board.toolchain else [],
            "link_flags": list(board.toolchain.link_flags) if board.toolchain else [],
            "defines": dict(board.defines),
            "run": _run_command(board),
            "install": " ".join(_packages(board)),
        },
        # 0: no limit
        "upload": {
            "protocol": "run",
            "maximum_ram_size": board.ram_bytes or 0,
            "maximum_size": board.flash_bytes or 0,
        },
    }


def _run_command(board: Board) -> list[str]:
    """What `pio run -t upload` puts before the image's path."""
    if board.emulator is None:
        return []
    emulator = board.emulator
    return [
        emulator.program,
        *("-M", emulator.machine, *emulator.args),
        *("-display", "none", "-monitor", "none", "-serial", "stdio"),
        *("-semihosting-config", "enable=on,target=native", "-kernel"),
    ]


def _packages(board: Board) -> tuple[str, ...]:
    """Debian's packages that build and run the board."""
    if board.is_hardware:
        return ()  # PlatformIO brings what it needs
    names = [f"{board.toolchain.prefix}gcc" if board.toolchain else "gcc"]
    names += [board.emulator.program] if board.emulator else []
    return tuple(package for name in names if name in PROGRAMS for package in PROGRAMS[name].apt)


def _template(name: str, export: Export, board: Board | None = None, protocol: str | None = None) -> bytes:
    values = {
        "export": export,
        "board": board,
        "name": export.model.name,
        "version": __version__,
        "packages": " ".join(_packages(board)) if board else "",
        "entry": "tflash_main" if board and board.is_hardware else "main",
        "environments": environments(export, protocol),
        "benchmark": None if protocol is None else mlperf_tiny.benchmark_of(export.model),
        "defines": _defines(export, board) if board else {},
        "lib_deps": _lib_deps(export, board) if board else (),
        "components": _components(export, board) if board else {},
        "inputs": [_tensor(spec) for spec in export.model.inputs],
        "output": _tensor(export.model.outputs[0]),
    }
    return render_template(name, values)


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    """A TensorSpec as templates show it. fill: the byte that stands for a real 0 in every element."""
    return {
        "name": re.sub(r"[^A-Za-z0-9_.:;,+-]", "_", spec.name)[-60:],
        "shape": "x".join(map(str, spec.shape)) or "1",
        "dtype": spec.dtype,
        "c_type": C_TYPES.get(spec.dtype, "uint8_t"),
        "scale": spec.scale,
        "zero_point": spec.zero_point,
        "fill": spec.zero_point if spec.dtype in ("int8", "uint8") else 0,
        "bytes": spec.bytes,
        "elements": spec.elements,
    }


def _check_names(export: Export) -> None:
    """Names come from model files: they must be what they look like before they reach C or a path."""
    for what, name in (("model", export.model.name), ("symbol", export.symbol)):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", name) or _RESERVED.fullmatch(name):
            raise RequestError(
                f"the {what} name {name!r} is not a C identifier that a model may have.",
                hint="rename the .tflite file.",
            )
    for path in (export.header, *export.files):
        if not re.fullmatch(r"[A-Za-z0-9_./-]{1,200}", path) or {"", ".", ".."} & set(path.split("/")):
            raise RequestError(f"the export has a file called {path!r}, which is not a plain relative path.")
    if export.header not in export.files:
        raise ValueError(f"the export names the header {export.header}, but has no such file")


def _provenance(export: Export, board: str | None, files: Mapping[str, bytes], protocol: str | None = None) -> bytes:
    return _json(
        {
            "format": _FORMAT,
            "tool": f"tensorflash {__version__}",
            "model": {"name": export.model.name, "sha256": export.model.sha256},
            "runtime": export.runtime,
            "board": board,
            "environments": [] if board is None else list(environments(export, protocol)),
            "files": {path: hashlib.sha256(files[path]).hexdigest() for path in sorted(files)},
        }
    )


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


# Writing


def _write(out: Path, files: Mapping[str, bytes], provenance: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the files that were kept, and those that were replaced, of those that the user had changed."""
    try:
        if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
            return _update(out, _written_before(out), files, provenance)
        _create(out, {**files, PROVENANCE: provenance})
    except OSError as error:
        raise RequestError(
            f"{out}: the project cannot be written: {error.strerror or error}.", hint="another --out"
        ) from error
    return (), ()


def _create(out: Path, files: Mapping[str, bytes]) -> None:
    """All files in a temporary sibling, which then takes the name."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        for path, content in files.items():
            target = temporary / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        temporary.chmod(0o755)
        temporary.replace(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _written_before(out: Path) -> dict[str, str]:
    """The sha256 of each file that tensorflash wrote into this folder."""
    try:
        record = json.loads((out / PROVENANCE).read_text(encoding="utf-8"))
        written = {str(path): str(digest) for path, digest in record["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RequestError(
            f"{out}: there is something here that tensorflash did not write.", hint="a new or an empty folder for --out"
        ) from error
    if record.get("format") != _FORMAT:
        raise RequestError(
            f"{out}: written by {record.get('tool')}, in a format that this version does not know.",
            hint="a new or an empty folder for --out",
        )
    return written


def _update(
    out: Path, before: Mapping[str, str], files: Mapping[str, bytes], provenance: bytes
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    kept: list[str] = []
    replaced: list[str] = []
    for path in sorted({*before, *files}):
        target = _inside(out, path)
        found = target.read_bytes() if target.is_file() else None
        if found == files.get(path):
            continue
        if found is not None and hashlib.sha256(found).hexdigest() != before.get(path):
            if path in YOURS:
                kept.append(path)
                continue
            replaced.append(path)
            _replace(target.with_name(f"{target.name}.bak"), found)
        if path in files:
            _replace(target, files[path])
        else:
            target.unlink()
    _replace(out / PROVENANCE, provenance)
    return tuple(kept), tuple(replaced)


def _inside(out: Path, path: str) -> Path:
    """A path of the record, which anybody may have edited: it must not lead out of the project."""
    target = out / path
    if not target.resolve().is_relative_to(out.resolve()):
        raise RequestError(f"{out / PROVENANCE}: '{path}' leads out of the project.", hint="a new folder for --out")
    return target


def _replace(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.new")
    temporary.write_bytes(content)
    temporary.replace(target)
