"""The toy firmware of firmware/*.c: built for the host with sanitizers, what it must answer, and a line with faults."""

from __future__ import annotations

import functools
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import wire
from pipeline.devices.device import Device
from pipeline.devices.link import ByteStream, FrameLink
from pipeline.devices.process import ProcessStream, open_pipes
from pipeline.model import Array, Layer, QuantizedModel, TensorSpec
from pipeline.wire import Command, Frame

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "firmware"
SHA256 = "ab0100ff" + 28 * "00"
SIZE = 600

MODEL = QuantizedModel(
    path=Path("toy.tflite"),
    sha256=SHA256,
    name="toy",
    inputs=(TensorSpec("signal", (1, 30, 20), "int8", 0.5, -3), TensorSpec("gain", (2,), "int32")),
    outputs=(
        TensorSpec("amplified", (1, SIZE), "int8", 0.25, 7),
        TensorSpec("runs", (), "int32"),
        TensorSpec("flag", (1,), "bool"),
    ),
)
LAYERS = (
    Layer(0, "ADD", 2, "doubled", (1, 30, 20), "int8", SIZE),
    Layer(1, "MUL", 3, "amplified", (1, SIZE), "int8", SIZE),
    Layer(2, "ADD", 4, "runs", (), "int32", 4),
)
_WARNINGS = "-Wall -Wextra -Wconversion -Werror -pedantic"
_FLAGS = f"-std=c11 -O1 -g {_WARNINGS} -fsanitize=address,undefined -fno-sanitize-recover=all"
_folder = tempfile.TemporaryDirectory(prefix="tensorflash-toy-")


@functools.cache
def build(*defines: str) -> Path:
    """The firmware with these macros defined, as a program for the host."""
    frames = ROOT / "firmware/frames"
    trace = [define for define in defines if define == "TFLASH_TRACE"]
    parts = [_compile(frames / name, *trace) for name in ("frames.c", "crc32.c")]
    parts += [_compile(HERE / name, *defines) for name in ("toy_model.c", "test_port.c")]
    return _gcc(*map(str, parts))


@functools.cache
def _compile(source: Path, *defines: str) -> Path:
    folders = [f"-I{ROOT / 'firmware' / name}" for name in ("frames", "ports", "runtime")]
    return _gcc("-c", *folders, f"-I{HERE}", *(f"-D{define}" for define in defines), str(source))


def _gcc(*arguments: str) -> Path:
    out = Path(_folder.name) / f"toy{len(list(Path(_folder.name).iterdir()))}"
    command = ["gcc", *_FLAGS.split(), *arguments, "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return out


def sample(seed: int) -> list[Array]:
    """Inputs for the toy model."""
    rng = np.random.default_rng(seed)
    return [rng.integers(-128, 128, (1, 30, 20), np.int8), rng.integers(-1000, 1000, 2, np.int32)]


def layers(inputs: list[Array], runs: int) -> list[Array]:
    """What the toy model computes in its run number `runs`."""
    signal, gain = inputs
    doubled = (signal.astype(np.int64) * 2).astype(np.int8)
    amplified = (doubled.astype(np.int64) * int(gain[0]) + int(gain[1])).astype(np.int8).reshape(1, SIZE)
    return [doubled, amplified, np.array(runs, np.int32)]


def outputs(inputs: list[Array], runs: int) -> list[bytes]:
    _, amplified, counter = layers(inputs, runs)
    return [amplified.tobytes(), counter.tobytes(), bytes([runs % 2])]


@contextmanager
def running(*defines: str) -> Iterator[ProcessStream]:
    """The toy firmware's byte stream. In the end it must have left by itself, with nothing said by a sanitizer."""
    elf = build(*defines)
    with tempfile.TemporaryDirectory(prefix="tensorflash-") as folder, (Path(folder) / "log").open("wb") as log:
        stream = open_pipes([str(elf)], Path(folder), log, name="toy")
        stream._grace_s = 30.0
        try:
            yield stream
        finally:
            stream.close()
        said = Path(log.name).read_text()
        assert stream._process.returncode == 0 and said.count("\n") == 1, said


@contextmanager
def device(*defines: str) -> Iterator[Device]:
    with running(*defines) as stream:
        yield Device(FrameLink(stream, name="toy"))


class Raw:
    """Frames by hand: whatever number, whatever order."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self._received = b""

    def send(self, command: int, sequence: int, payload: bytes = b"") -> None:
        self.stream.write(wire.encode(Frame(command, sequence, payload)))

    def receive(self, wait_s: float = 20.0) -> Frame | None:
        """The next reply; None when there is none within wait_s."""
        deadline = time.monotonic() + wait_s
        while True:
            block, delimiter, rest = self._received.partition(b"\0")
            if delimiter:
                self._received = rest
                frame = wire.decode(block) if block else None
                if frame is not None:
                    return frame
            else:
                data = self.stream.read(4096, max(0.0, deadline - time.monotonic()))
                if not data:
                    return None
                self._received += data

    def ask(self, command: int, sequence: int, payload: bytes = b"") -> Frame:
        self.send(command, sequence, payload)
        reply = self.receive()
        assert reply is not None
        return reply

    def write_sample(self, sequence: int, inputs: list[Array]) -> int:
        """Writes all inputs with requests from `sequence` on; returns the next number."""
        for index, array in enumerate(inputs):
            data = array.tobytes()
            for offset in range(0, len(data), wire.MAX_WRITE):
                part = wire.WRITE.pack(index, offset) + data[offset : offset + wire.MAX_WRITE]
                assert self.ask(Command.WRITE_INPUT, sequence, part).status == 0
                sequence += 1
        return sequence


@dataclass
class FaultyLine:
    """A byte stream between the host and a good one that does, with a seeded chance, what bad lines do.

    fault: "flip" bits, "drop" or "double" bytes, "noise" between frames, "lose" or "repeat" whole frames, "late": old
    frames once more after newer ones, "stall": nothing comes for a while, "crumbs": one byte at a time, or "all", a bit
    of each.
    """

    line: ByteStream
    fault: str
    seed: int

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.old: list[bytes] = []
        self.waiting = b""
        self.injected = 0

    def does(self, fault: str, probability: float) -> bool:
        probability *= (self.fault == fault) + 0.2 * (self.fault == "all")
        if self.chance.random() >= probability:
            return False
        self.injected += 1
        return True

    def spoil(self, data: bytes) -> bytes:
        out = bytearray(data)
        if self.does("flip", 0.1):
            out[self.chance.randrange(len(out))] ^= 1 << self.chance.randrange(8)
        if self.does("drop", 0.1):
            del out[self.chance.randrange(len(out))]
        if out and self.does("double", 0.1):
            at = self.chance.randrange(len(out))
            out.insert(at, out[at])
        if self.does("noise", 0.2):
            noise = self.chance.randbytes(self.chance.randrange(1, 400))
            out = bytearray(noise + out) if self.chance.random() < 0.5 else out + noise
        if self.does("lose", 0.1):
            return b""
        if self.does("repeat", 0.2):
            out = out + out
        if self.does("late", 0.2) and self.old:
            out = self.chance.choice(self.old) + out + self.chance.choice(self.old)
        self.old = [*self.old[-20:], data]
        return bytes(out)

    def write(self, data: bytes) -> None:
        spoiled = self.spoil(data)
        if self.does("crumbs", 1.0):
            for at in range(len(spoiled)):
                self.line.write(spoiled[at : at + 1])
        elif spoiled:
            self.line.write(spoiled)

    def read(self, most: int, timeout_s: float) -> bytes:
        if self.does("stall", 0.1):
            time.sleep(timeout_s)
            return b""
        if not self.waiting:
            data = self.line.read(most, timeout_s)
            self.waiting = self.spoil(data) if data else b""
        size = 1 if self.does("crumbs", 0.9) else most
        data, self.waiting = self.waiting[:size], self.waiting[size:]
        return data

    def close(self) -> None:
        self.line.close()
