"""Kernel tests: many small models, compiled into one program, against TFLM's answers, byte for byte.

    cases = [Case("conv_0", builder.build(), samples), ...]
    check(cases, HOST, tmp_path)

and its steps, for tests that change something on the way:

    golden = tflm_outputs(cases, folder)
    actual = run(build(sources(cases), HOST, folder), cases, HOST, folder)
    wrong = differing(cases, golden, actual)

The harness checks guard bytes around every input and output; the host program also runs under AddressSanitizer and
UndefinedBehaviorSanitizer.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from pipeline import tflite
from pipeline.aot import PORTABLE, Core, export
from pipeline.aot.lower import lower
from pipeline.model import Array
from pipeline.tflite import Graph

GUARD_BYTES = 16
MODELS_IN_A_UNIT = 25
HARNESS = Path(__file__).parent / "harness"
FIRMWARE = Path(__file__).parents[2] / "firmware"

WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wundef", "-Werror", "-pedantic"]


@dataclass(frozen=True, eq=False)
class Case:
    """A model and its samples; a sample is one array a model input. name is a C identifier, unique in its batch."""

    name: str
    content: bytes
    samples: tuple[tuple[Array, ...], ...]

    def graph(self) -> Graph:
        return self._graph

    @cached_property
    def _graph(self) -> Graph:
        return tflite.parse(self.content, Path(f"{self.name}.tflite"))


@dataclass(frozen=True)
class Target:
    """Where a batch runs: a compiler with its options, and the command that starts its program, given as last word."""

    name: str
    compiler: tuple[str, ...]
    link: tuple[str, ...]
    runner: tuple[str, ...]
    start: tuple[str, ...] = ()
    core: Core = PORTABLE


HOST = Target("host", ("gcc", "-O1", "-g0", "-fsanitize=address,undefined", "-fno-sanitize-recover"), (), ())


def _arm(name: str, machine: str, *options: str, script: str = "mps2.ld") -> Target:
    return Target(
        name,
        ("arm-none-eabi-gcc", "-O2", "-mthumb", "-ffunction-sections", "-fdata-sections", *options),
        ("--specs=rdimon.specs", "-nostartfiles", "-Wl,--gc-sections", f"-L{HARNESS}", "-T", str(HARNESS / script)),
        ("qemu-system-arm", "-machine", machine, "-nographic", "-monitor", "none", "-serial", "none",
         "-semihosting-config", "enable=on,target=native", "-kernel"),
        ("cortex_m.c",),
    )  # fmt: skip


CORTEX_M0 = _arm("cortex-m0", "mps2-an385", "-mcpu=cortex-m0")  # its code, on a Cortex-M3
CORTEX_M3 = _arm("cortex-m3", "mps2-an385", "-mcpu=cortex-m3")
CORTEX_M4 = _arm("cortex-m4", "mps2-an386", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
CORTEX_M7 = _arm("cortex-m7", "mps2-an500", "-mcpu=cortex-m7", "-mfpu=fpv5-d16", "-mfloat-abi=hard")
CORTEX_M55 = _arm("cortex-m55", "mps3-an547", "-mcpu=cortex-m55", "-mfloat-abi=hard", script="mps3.ld")
RISCV = Target(
    "riscv32",
    ("riscv64-unknown-elf-gcc", "-O2", "-march=rv32imc", "-mabi=ilp32", "-ffunction-sections", "-fdata-sections",
     "--specs=picolibc.specs"),
    ("--oslib=semihost", "--crt0=hosted", "-Wl,--gc-sections", "-Wl,--defsym=__flash=0x80000000",
     "-Wl,--defsym=__flash_size=4M", "-Wl,--defsym=__ram=0x80400000", "-Wl,--defsym=__ram_size=4M"),
    ("qemu-system-riscv32", "-machine", "virt", "-bios", "none", "-nographic", "-monitor", "none", "-serial", "none",
     "-semihosting-config", "enable=on,target=native", "-kernel"),
)  # fmt: skip
EMULATED = (CORTEX_M4, CORTEX_M0, CORTEX_M3, CORTEX_M7, CORTEX_M55, RISCV)

# For @pytest.mark.parametrize("target", TARGETS): the host, one core always, the others in a full run, but for the
# Cortex-M3, which has test_portable.py.
TARGETS = [pytest.param(HOST, id="host")] + [
    pytest.param(
        target,
        id=target.name,
        marks=[pytest.mark.emulated, *([] if target is CORTEX_M4 else [pytest.mark.slow])],
    )
    for target in EMULATED
    if target is not CORTEX_M3
]


def case_count(default: int = 40, full: int = 200) -> int:
    """How many random cases of an op a run has."""
    return full if os.environ.get("TENSORFLASH_FULL") == "1" else default


def check(cases: Sequence[Case], target: Target, folder: Path, guard_bytes: int = GUARD_BYTES) -> None:
    """The batch gives TFLM's bytes on the target. guard_bytes 0: inputs and outputs share memory as in real builds."""
    golden = tflm_outputs(cases, folder / "golden")
    program = build(sources(cases, target.core, guard_bytes), target, folder / target.name)
    wrong = differing(cases, golden, run(program, cases, target, folder / target.name))
    assert not wrong, f"{len(wrong)} of {len(cases)} cases differ from TFLM:\n" + "\n".join(wrong[:8])


def check_many(
    cases: Sequence[Case], target: Target, folder: Path, guard_bytes: int = GUARD_BYTES, at_once: int = 125
) -> None:
    """`check`, in as many programs as the memory of every board needs, or with so many cases at once."""
    for first in range(0, len(cases), at_once):
        check(cases[first : first + at_once], target, folder / str(first), guard_bytes)


def cases_with(kernel: str, makers: Sequence[Callable[[int], Case]], core: Core, count: int) -> list[Case]:
    """As many cases as asked for, from all makers in turn, in which a layer gets this kernel on the core."""
    found: list[Case] = []
    for number in range(4 * count):
        case = makers[number % len(makers)](number // len(makers))
        if any(step.kernel == kernel for step in lower(case.graph(), core)):
            found.append(case)
        if len(found) == count:
            return found
    raise AssertionError(f"{kernel} was chosen in {len(found)} cases only")


def sources(cases: Sequence[Case], core: Core = PORTABLE, guard_bytes: int = GUARD_BYTES) -> dict[str, bytes]:
    """All C files of a batch by relative path. A test may change them to see whether the batch notices."""
    files: dict[str, bytes] = {}
    symbols, guards = [], []
    for case in cases:
        graph = case.graph()
        # Memory of an input that nothing reads is free for the output.
        layer = len(graph.ops) == 1 and set(graph.inputs) <= set(graph.ops[0].inputs)
        guards.append(guard_bytes if layer else 0)
        exported = export(graph, core, guard_bytes=guards[-1])
        files.update(exported.files)
        symbols.append(exported.symbol)
    declarations = "".join(f"extern const struct tflash_model {symbol};\n" for symbol in symbols)
    pointers = ", ".join(f"&{symbol}" for symbol in symbols)
    files["batch.h"] = (
        f'#include "model.h"\n\n#define GUARD_BYTES {GUARD_BYTES}\n\n{declarations}\n'
        f"static const struct tflash_model *const batch[] = {{{pointers}}};\n"
        f"static const uint8_t guard_bytes[] = {{{', '.join(map(str, guards))}}};\n"
        f"static const uint32_t batch_size = {len(symbols)};\n"
    ).encode()
    return files


def build(files: Mapping[str, bytes], target: Target, folder: Path) -> Path:
    """Compile a batch; the result is its program."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    inputs = [str(folder / path) for path in _units(files, folder)]
    inputs += [str(HARNESS / name) for name in ("main.c", *target.start)]
    program = folder / "program"
    command = [*target.compiler, *WARNINGS, f"-I{folder}", f"-I{FIRMWARE / 'runtime'}", *inputs, *target.link]
    done = subprocess.run([*command, "-o", str(program)], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise AssertionError(f"{target.name}: the compiler says\n{done.stderr[-6000:]}")
    return program


def _units(files: Mapping[str, bytes], folder: Path) -> list[str]:
    """The files to compile. Many models share a unit, which is not optimized, for they are most of the work."""
    models = [path for path in sorted(files) if f"{path.removesuffix('.c')}_constants.c" in files]
    units = []
    for first in range(0, len(models), MODELS_IN_A_UNIT):
        units.append(f"unit_{first}.c")
        texts = [_renamed(path, files) for path in models[first : first + MODELS_IN_A_UNIT]]
        (folder / units[-1]).write_text("\n".join(['#pragma GCC optimize("O0")', *texts]))
    others = (path for path in sorted(files) if path.endswith(".c") and not path.endswith("_constants.c"))
    return units + [path for path in others if path not in models]


def _renamed(path: str, files: Mapping[str, bytes]) -> str:
    """A model's code, whose static names get its own in front, and its constants."""
    name, code = path.removesuffix(".c"), files[path].decode()
    static = re.findall(r"^static (?:_Alignas\(16\) )?(?:const )?(?:struct )?\w+ (\w+)", code, re.MULTILINE)
    code = re.sub(rf"(?<![.\w])({'|'.join(static)})\b", rf"{name}_\1", code)
    return f'{code}\n#include "{name}_constants.c"\n'


def run(program: Path, cases: Sequence[Case], target: Target, folder: Path) -> list[list[tuple[bytes, ...]]]:
    """The program's answers: for each case and sample the bytes of each output."""
    content = b"".join(
        struct.pack("<I", len(case.samples)) + b"".join(a.tobytes() for sample in case.samples for a in sample)
        for case in cases
    )
    (folder / "inputs.bin").write_bytes(content)
    (folder / "outputs.bin").unlink(missing_ok=True)
    done = subprocess.run(
        [*target.runner, str(program)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise AssertionError(f"{target.name}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-6000:]}")
    answer = (folder / "outputs.bin").read_bytes()
    assert answer[-4:] == b"done", f"{target.name}: the program stopped early"
    return _split(answer[:-4], cases)


def _split(content: bytes, cases: Sequence[Case]) -> list[list[tuple[bytes, ...]]]:
    results: list[list[tuple[bytes, ...]]] = []
    position = 0
    for case in cases:
        graph = case.graph()
        sizes = [graph.tensor(index).bytes for index in graph.outputs]
        results.append([])
        for _ in case.samples:
            outputs = []
            for size in sizes:
                outputs.append(content[position : position + size])
                position += size
            results[-1].append(tuple(outputs))
    assert position == len(content), f"{position} bytes were expected, {len(content)} came"
    return results


def tflm_outputs(cases: Sequence[Case], folder: Path) -> list[list[tuple[bytes, ...]]]:
    """TFLM's answers, from a process of its own since a model it does not like may end it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "names.txt").write_text("\n".join(case.name for case in cases))
    for case in cases:
        (folder / f"{case.name}.tflite").write_bytes(case.content)
        np.savez(
            folder / f"{case.name}.npz",
            **{f"{s}_{i}": array for s, sample in enumerate(case.samples) for i, array in enumerate(sample)},
        )
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "tflm_worker.py"), str(folder)],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"TFLM: {done.stdout[-200:]}\n{done.stderr[-3000:]}")
    return _split((folder / "golden.bin").read_bytes(), cases)


def differing(
    cases: Sequence[Case],
    expected: Sequence[Sequence[tuple[bytes, ...]]],
    actual: Sequence[Sequence[tuple[bytes, ...]]],
) -> list[str]:
    """One line about each case whose bytes differ."""
    lines = []
    for case, want, got in zip(cases, expected, actual, strict=True):
        for sample, (a, b) in enumerate(zip(want, got, strict=True)):
            if a != b:
                graph = case.graph()
                x, y = (np.frombuffer(b"".join(side), np.int8).astype(int) for side in (a, b))
                first = int(np.flatnonzero(x != y)[0])
                lines.append(
                    f"{case.name} sample {sample}: {np.count_nonzero(x != y)} of {x.size} bytes, first at {first}: "
                    f"{x[first]} expected, {y[first]} came; {graph.ops[0].name} {dict(graph.ops[0].options)} "
                    f"{[graph.tensor(i).shape for i in (*graph.ops[0].inputs, *graph.ops[0].outputs) if i >= 0]}"
                )
                break
    return lines
