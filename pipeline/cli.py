"""The command line: arguments become one call of a stage, and its result becomes text or one JSON object.

Nothing heavy is imported before a command needs it. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import math
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from pipeline import __version__
from pipeline.errors import RequestError, TensorflashError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from pipeline.display import Paint

Outcome = tuple[dict[str, Any], "Callable[[dict[str, Any], Paint], str]", int]
"""What a command found, how it is shown to a person, and the exit code."""

EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
EXIT_BROKEN_PIPE = 141

EXIT_CODES = """\
exit codes:
  0    done, and where something was to be proved: proved
  1    wrong answers, does not fit, or an accuracy below the recipe's gate
  2    bad request or unsupported model
  3    a tool is missing or failed, or a device is silent
  70   a mistake in tensorflash itself
  130  interrupted with Ctrl-C
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names from files may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    as_json = "--json" in arguments
    debug = "--debug" in arguments or bool(os.environ.get("TENSORFLASH_DEBUG"))
    try:
        options = _parser().parse_args(arguments)
        logging.basicConfig(
            stream=sys.stderr, level=logging.DEBUG if debug else logging.WARNING, format="%(name)s: %(message)s"
        )
        with _sigterm_raises():
            found, show, exit_code = options.command(options)
        print(_json(found) if as_json else show(found, _paint()), flush=True)
        return int(exit_code)
    except TensorflashError as error:
        return _report(error.message, error.hint, error.exit_code, as_json, debug)
    except KeyboardInterrupt:
        return _report(
            "interrupted.",
            "the same command again; stages that a work folder holds are not repeated.",
            EXIT_INTERRUPTED,
            as_json,
        )
    except BrokenPipeError:
        _discard(sys.stdout)  # its reader has gone
        return EXIT_BROKEN_PIPE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        hint = "free some space on that disk." if error.errno == errno.ENOSPC else "check the path and its permissions."
        _drop_unwritten(sys.stdout)
        return _report(f"{where}{error.strerror or error}.", hint, RequestError.exit_code, as_json, debug)
    except Exception as error:
        return _report(
            f"internal error: {type(error).__name__}: {error}",
            "the same command with --debug, and report what it prints.",
            EXIT_INTERNAL,
            as_json,
            debug,
        )


def _report(message: str, hint: str | None, exit_code: int, as_json: bool, debug: bool = False) -> int:
    """Tell of an error: text on stderr and, where JSON was asked for, an object on stdout."""
    if debug:
        traceback.print_exc()
    texts = [(sys.stderr, f"tensorflash: {message}" + ("" if hint is None else f"\n  Try: {hint}"))]
    if as_json:
        texts.append((sys.stdout, _json({"error": {"message": message, "hint": hint, "exit_code": exit_code}})))
    for stream, text in texts:
        try:
            print(text, file=stream, flush=True)
        except OSError:  # this may have been the error
            _discard(stream)
    return exit_code


def _open_closed_streams() -> None:
    """Where the caller closed a standard stream, no other file may get its number."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _drop_unwritten(stream: TextIO) -> None:
    """What is in a stream's buffer is written, or forgotten: at the end of Python it would be one more error."""
    try:
        stream.flush()
    except OSError:
        _discard(stream)


def _discard(stream: TextIO) -> None:
    """What cannot be written is forgotten: Python would complain once more when it closes the stream."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _json(found: Any) -> str:
    return json.dumps(_finite(found), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities: they become the strings "nan", "inf" and "-inf"."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _paint() -> Paint:
    from pipeline.display import Paint

    return Paint(sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """A polite kill unwinds like Ctrl-C, so that emulators and locks do not outlive us."""

    def stop(_signal: int, _frame: object) -> NoReturn:
        raise SystemExit(EXIT_TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Progress:
    """The callback `progress(stage, done, total)`: bars on a terminal, plain lines elsewhere. total 0 is unknown."""

    def __enter__(self) -> _Progress:
        self._lines: dict[str, int] = {}
        self._tasks: dict[str, TaskID] = {}
        self._bars = None
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            self._bars = Progress(
                TextColumn("{task.description:<24}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._bars is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total or None)
            self._bars.update(self._tasks[stage], completed=done, total=total or None)
            return
        tenth = 10 * done // total if total else 0
        if self._lines.get(stage) != tenth:
            self._lines[stage] = tenth
            print(f"{stage}: {done} of {total}" if total else f"{stage} ...", file=sys.stderr, flush=True)


# The commands


def _run(options: argparse.Namespace) -> Outcome:
    from pipeline import display
    from pipeline.run import run_recipe

    with _Progress() as progress:
        result = run_recipe(
            options.recipe,
            boards=tuple(options.board),
            until=options.until,
            out=options.out,
            force=options.force,
            progress=progress,
        )
    return dict(result.as_json()), display.run, result.exit_code


def _verify(options: argparse.Namespace) -> Outcome:
    from pipeline import display
    from pipeline.verification import verify_model

    with _Progress() as progress:
        found = verify_model(
            options.model,
            board=options.board,
            runtime=options.runtime,
            samples=options.samples,
            seed=options.seed,
            inputs=options.inputs,
            golden_file=options.golden,
            transport=options.transport,
            out=options.out,
            progress=progress,
            profile=options.profile,
            port=options.port,
            serial_number=options.serial_number,
            flash=options.flash,
        )
    return found, display.verdict, 0 if display.is_exact(found) else 1


def _project(options: argparse.Namespace) -> Outcome:
    from pipeline import audit, board, display, project, runtimes, tflite
    from pipeline.check import check_export

    target = board.load(options.board)
    graph = tflite.read(options.model)
    audit.require_int8(graph)
    export = runtimes.export(graph, target, options.runtime)
    found: dict[str, Any] = {
        "path": str(options.out),
        "model": {"path": str(graph.path), "sha256": graph.sha256},
        "board": target.id,
        "runtime": export.runtime,
        "environments": [],
        "kept": [],
        "replaced": [],
        "notes": [*export.notes, *check_export(graph, export, target).problems],
    }
    if options.as_library:
        if options.protocol is not None:
            raise RequestError("a library answers no host: --protocol is of a whole project.", hint="leave one out.")
        project.render_library(export, options.out)
    else:
        emitted = project.render(export, target, options.out, options.protocol)
        found |= {key: list(getattr(emitted, key)) for key in ("environments", "kept", "replaced")}
    return found, display.project, 0


def _check(options: argparse.Namespace) -> Outcome:
    from pipeline import board, display
    from pipeline.check import check_model

    result = check_model(options.model, board.load(options.board), options.runtime)
    return dict(result.as_json()), display.check, 0 if result.fits else 1


def _inspect(options: argparse.Namespace) -> Outcome:
    from pipeline import display, inspection, tflite

    return inspection.inspect(tflite.read(options.model)), display.inspection, 0


def _bench(options: argparse.Namespace) -> Outcome:
    from pipeline import display
    from pipeline.bench import bench_models, picture

    with _Progress() as progress:
        found = bench_models(
            options.models,
            board=options.board,
            samples=options.samples,
            seed=options.seed,
            rivals=not options.ours_only,
            progress=progress,
        )
    if options.picture is not None:
        options.picture.write_text(picture.draw(found), encoding="utf-8")
    return found, display.bench, 0 if all(model["results"][0]["exact"] for model in found["models"]) else 1


def _edgetpu_check(options: argparse.Namespace) -> Outcome:
    from pipeline import display
    from pipeline.edgetpu.check import check_model

    found = check_model(options.model, options.runtime_version)
    return found.as_json(), display.edgetpu_check, 0 if found.compiles and found.on_edgetpu else 1


def _edgetpu_fix(options: argparse.Namespace) -> Outcome:
    from pipeline import display
    from pipeline.edgetpu.fix import fix_model

    found = fix_model(options.model, options.out, samples=options.samples, seed=options.seed)
    return found.as_json(), display.edgetpu_fix, 0


def _edgetpu_inspect(options: argparse.Namespace) -> Outcome:
    from pipeline import display
    from pipeline.edgetpu import inspection, package

    return inspection.inspect(package.read(options.model)), display.edgetpu_inspection, 0


def _edgetpu_compile(options: argparse.Namespace) -> Outcome:
    from pipeline import display
    from pipeline.edgetpu.compiler import CompileOptions
    from pipeline.edgetpu.target import compile_checked

    cut = tuple(options.cut.split(",")) if options.cut else ()
    asked = CompileOptions(options.segments, options.min_runtime_version, options.timeout, options.compiler, cut)
    with _Progress() as progress:
        _, found = compile_checked(options.models, asked, options.out, progress)
    return found, display.edgetpu_compile, 0


def _edgetpu_deploy(options: argparse.Namespace) -> Outcome:
    from pipeline import display
    from pipeline.edgetpu.comparison import Bounds
    from pipeline.edgetpu.deploy import Place
    from pipeline.edgetpu.target import deploy_bundle

    place = Place(options.host, options.port, options.identity, options.known_hosts, options.folder, options.python)
    with _Progress() as progress:
        found = deploy_bundle(
            options.bundle,
            place,
            device=options.device,
            samples=options.samples,
            seed=options.seed,
            expected=options.expect,
            bounds=Bounds(),
            progress=progress,
        )
    return found, display.edgetpu_deploy, 1 if found["problems"] else 0


def _boards(options: argparse.Namespace) -> Outcome:
    from pipeline import board, display

    boards = board.all_boards() if options.check is None else (board.load(_board_file(options.check)),)
    found = [
        {
            "id": b.id,
            "title": b.title,
            "core": b.core,
            "features": sorted(b.features),
            "clock_hz": b.clock_hz,
            "flash_bytes": b.flash_bytes,
            "ram_bytes": b.ram_bytes,
            "runs": b.emulator.program if b.emulator else "host process" if b.is_host else "hardware",
            "source": b.source,
        }
        for b in boards
    ]
    return {"boards": found}, display.boards, 0


def _board_file(path: Path) -> Path:
    if path.suffix != ".toml":
        raise RequestError(f"{path}: a board file ends in .toml.", hint="rename it; its name is the board's id.")
    return path


def _doctor(options: argparse.Namespace) -> Outcome:
    from dataclasses import asdict

    from pipeline import display
    from pipeline.doctor import diagnose

    findings = [asdict(finding) for finding in diagnose()]
    complete = all(finding["ok"] for finding in findings)
    return {"ok": complete, "findings": findings}, display.doctor, 0 if complete else 3


# The arguments


class _Parser(argparse.ArgumentParser):
    """argparse, with its mistakes reported like all others."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **settings,
        )

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message}.", hint=f"{self.prog} --help")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # each command tells of its own
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tensorflash",
        description="TensorFlow models as microcontroller firmware, proved on the device byte for byte.",
    )
    parser.add_argument("--version", action="version", version=f"tensorflash {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(
        name: str,
        command: Callable[[argparse.Namespace], Outcome],
        summary: str,
        group: argparse._SubParsersAction[_Parser] = commands,
    ) -> argparse.ArgumentParser:
        sub = group.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        sub.set_defaults(command=command)
        sub.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
        sub.add_argument("--debug", action="store_true", help="log everything, and show where an error was raised")
        return sub

    def add_model(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("model", metavar="MODEL.tflite", type=_path, help="a .tflite file")

    def add_target(sub: argparse.ArgumentParser) -> None:
        add_model(sub)
        sub.add_argument("--board", metavar="ID", required=True, help="see `tensorflash boards`")
        sub.add_argument(
            "--runtime", metavar="NAME", default="aot", help="aot: C for this model (default); tflm: TFLite Micro"
        )

    run = add("run", _run, "carry out a recipe: train, quantize, convert, build, verify, report")
    run.add_argument("recipe", metavar="RECIPE", type=_path, help="a recipe.yaml")
    run.add_argument(
        "--board", metavar="ID", nargs="+", action="extend", default=[], help="these boards instead of the recipe's"
    )
    run.add_argument("--until", metavar="STAGE", help="stop after train, golden, build, verify or report")
    run.add_argument("--out", metavar="DIR", type=_path, help="the work folder (default: build/<recipe's name>)")
    run.add_argument("--force", action="store_true", help="do every stage again, also those that are done")

    verify = add("verify", _verify, "export, build and run a model, and compare every byte with the golden answers")
    add_target(verify)
    verify.add_argument(
        "--samples", metavar="N", type=_at_least(1), default=100, help="inputs to compare (default: %(default)s)"
    )
    verify.add_argument(
        "--seed", metavar="S", type=_at_least(0), default=0, help="of the inputs (default: %(default)s)"
    )
    given = verify.add_mutually_exclusive_group()
    given.add_argument("--inputs", metavar="FILE.npz", type=_path, help="your own inputs instead of generated ones")
    given.add_argument("--golden", metavar="FILE.npz", type=_path, help="saved golden vectors, as `run` writes them")
    verify.add_argument(
        "--transport",
        choices=("fast", "uart"),
        default="fast",
        help="how frames reach the board (default: %(default)s)",
    )
    verify.add_argument(
        "--port", metavar="PORT", help="of a board: /dev/tty.., COM.., socket://.., rfc2217://.., labgrid://PLACE"
    )
    verify.add_argument("--serial-number", metavar="S", help="of the board's USB device, where several are connected")
    verify.add_argument(
        "--flash", metavar="COMMAND", help="flash the board by this command, in which {elf} is the image's path"
    )
    verify.add_argument("--profile", action="store_true", help="count the instructions of each layer as well")
    verify.add_argument("--out", metavar="DIR", type=_path, help="keep the project, its builds and the golden vectors")

    project = add("project", _project, "write the PlatformIO project of a model")
    add_target(project)
    project.add_argument("--out", metavar="DIR", type=_path, required=True, help="the folder to write")
    project.add_argument(
        "--protocol", choices=("mlperf-tiny",), help="add the firmware that MLPerf Tiny's runner can drive"
    )
    project.add_argument("--as-library", action="store_true", help="only a PlatformIO library with the model's C API")

    add_target(add("check", _check, "say whether a model can run on a board and fits it, before anything is built"))
    add_model(add("inspect", _inspect, "show a model's ops, tensors, quantization, MACs and weights"))
    bench = add("bench", _bench, "measure models beside other runtimes: instructions, flash, RAM, exactness")
    bench.add_argument("models", metavar="MODEL.tflite", type=_path, nargs="+", help="int8 .tflite files")
    bench.add_argument("--board", metavar="ID", required=True, help="an emulated one; see `tensorflash boards`")
    bench.add_argument(
        "--samples", metavar="N", type=_at_least(1), default=10, help="inputs to measure with (default: %(default)s)"
    )
    bench.add_argument("--seed", metavar="S", type=_at_least(0), default=0, help="of the inputs (default: %(default)s)")
    bench.add_argument("--ours-only", action="store_true", help="without BakeNN, which pip installs the first time")
    bench.add_argument("--picture", metavar="FILE.svg", type=_path, help="draw the comparison")
    summary = "check, repair, compile, inspect and deploy models for Google's Edge TPU"
    edgetpu = commands.add_parser("edgetpu", help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    _edgetpu_commands(edgetpu.add_subparsers(title="commands", metavar="COMMAND", required=True), add)
    boards = add("boards", _boards, "list the boards, or check a board file of your own")
    boards.add_argument("--check", metavar="FILE", type=_path, help="read this board file, say what is wrong")
    add("doctor", _doctor, "list the tools that are installed, that are missing, and how to install them")
    return parser


def _edgetpu_commands(group: argparse._SubParsersAction[_Parser], add: Callable[..., argparse.ArgumentParser]) -> None:
    """The commands of `tensorflash edgetpu`, each added with `add(name, command, summary, group)`."""
    check = add("check", _edgetpu_check, "say which ops the Edge TPU compiler will map, and why not the others", group)
    check.add_argument("model", metavar="MODEL.tflite", type=_path, help="a quantized .tflite file, not yet compiled")
    check.add_argument(
        "--runtime-version", metavar="V", type=int, choices=(13, 14), default=14, help="of the device (default: 14)"
    )
    fix = add("fix", _edgetpu_fix, "repair what keeps ops off the Edge TPU, bit-identical on the CPU", group)
    fix.add_argument("model", metavar="MODEL.tflite", type=_path, help="a quantized .tflite file, not yet compiled")
    fix.add_argument("--out", metavar="FILE", type=_path, required=True, help="the .tflite file to write")
    fix.add_argument(
        "--samples", metavar="N", type=_at_least(1), default=100, help="inputs to prove it with (default: %(default)s)"
    )
    fix.add_argument("--seed", metavar="S", type=_at_least(0), default=0, help="of the inputs (default: %(default)s)")
    inspect = add("inspect", _edgetpu_inspect, "read a compiled model without the hardware", group)
    inspect.add_argument("model", metavar="MODEL_edgetpu.tflite", type=_path, help="what the compiler has written")
    compile_ = add("compile", _edgetpu_compile, "run edgetpu_compiler and prove what it made", group)
    compile_.add_argument(
        "models", metavar="MODEL.tflite", type=_path, nargs="+", help="several share the chip's memory (co-compilation)"
    )
    compile_.add_argument(
        "--out", metavar="DIR", type=_path, default=Path("edgetpu"), help="for the packages (default: %(default)s)"
    )
    compile_.add_argument(
        "--segments", metavar="N", type=_at_least(1), default=1, help="for as many Edge TPUs (default: %(default)s)"
    )
    compile_.add_argument("--min-runtime-version", metavar="V", type=_at_least(1), help="the oldest runtime to run it")
    compile_.add_argument(
        "--timeout", metavar="S", type=_at_least(1), default=180, help="seconds an attempt may take (default: 180)"
    )
    compile_.add_argument("--cut", metavar="TENSOR,..", help="end the Edge TPU's part there; the CPU does what follows")
    compile_.add_argument(
        "--compiler", metavar="COMMAND", help="instead of the installed one; {folder} in it is the model's folder"
    )
    deploy = add("deploy", _edgetpu_deploy, "bring a bundle to a board and compare its answers with the host's", group)
    deploy.add_argument("bundle", metavar="BUNDLE", type=_path, help="a bundle that `tensorflash run` has written")
    deploy.add_argument("--host", metavar="USER@HOST", help="by ssh; without it the bundle runs on this computer")
    deploy.add_argument("--port", metavar="N", type=_at_least(1), help="of ssh")
    deploy.add_argument("--identity", metavar="FILE", type=_path, help="a private key for ssh")
    deploy.add_argument("--known-hosts", metavar="FILE", type=_path, help="instead of ~/.ssh/known_hosts")
    deploy.add_argument(
        "--folder", metavar="DIR", default="tensorflash", help="on the board, in its home (default: %(default)s)"
    )
    deploy.add_argument("--python", metavar="NAME", default="python3", help="on the board (default: %(default)s)")
    deploy.add_argument(
        "--device", choices=("auto", "edgetpu", "cpu"), default="auto", help="auto: the CPU where there is no Edge TPU"
    )
    deploy.add_argument("--expect", metavar="SHA256", help="the bundle's identity: another one is refused")
    deploy.add_argument(
        "--samples", metavar="N", type=_at_least(1), default=100, help="inputs to compare (default: %(default)s)"
    )
    deploy.add_argument("--seed", metavar="S", type=_at_least(0), default=0, help="of the inputs (default: 0)")


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("a path is needed, not an empty text")
    return Path(text)


def _at_least(lowest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = lowest - 1
        if not lowest <= value < 1 << 31:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {lowest}")
        return value

    return number
