"""A device that answers frames: what it is, and its answers to samples."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline import wire
from pipeline.board import Emulator
from pipeline.devices.link import INVOKE_TIMEOUT_S, FrameLink, Refused
from pipeline.errors import DeviceError
from pipeline.model import Array, Inference, Layer, QuantizedModel, TensorSpec
from pipeline.wire import Command, Counter, Progress, Reset, Status


class Device:
    """Firmware with a model, at the other end of a link. It is identified when this is made.

    identity, inputs and outputs are what the device says of itself. count_unit is the unit of Inference.count:
    "instructions", "cycles", or None where nothing is counted.

    Args:    emulator: the figures that turn a counter's ticks into instructions; None where they are unknown or the
             emulator does not keep them.
    Raises:  DeviceError: silent, or speaks another protocol.
    """

    def __init__(
        self, link: FrameLink, *, emulator: Emulator | None = None, invoke_timeout_s: float = INVOKE_TIMEOUT_S
    ) -> None:
        self.link = link
        self._emulator = emulator
        self._invoke_timeout_s = invoke_timeout_s
        self.identity = self._identify()
        self.inputs = tuple(self._tensor(0, index) for index in range(self.identity.inputs))
        self.outputs = tuple(self._tensor(1, index) for index in range(self.identity.outputs))

    @property
    def name(self) -> str:
        return self.link.name

    @property
    def count_unit(self) -> str | None:
        if self.identity.counter is Counter.CYCLES:
            return "cycles"
        return "instructions" if self.identity.counter is Counter.TICKS and self._emulator is not None else None

    def expect(self, model: QuantizedModel, runtime: str) -> None:
        """Makes sure that the device runs this model in this runtime, before any answer is compared.

        Raises:  DeviceError: it runs something else.
        """
        identity = self.identity
        rebuild = "build the firmware from this model again and flash it."
        if identity.model_sha256 != model.sha256:
            raise DeviceError(
                f"{self.name}: the device runs another model: found {identity.model_name} "
                f"(sha256 {identity.model_sha256}), needed {model.name} (sha256 {model.sha256}).",
                hint=rebuild,
            )
        if identity.runtime != runtime:
            raise DeviceError(
                f"{self.name}: the device runs the model in the runtime '{identity.runtime}', needed '{runtime}'.",
                hint=rebuild,
            )
        for kind, found, needed in (("input", self.inputs, model.inputs), ("output", self.outputs, model.outputs)):
            if len(found) != len(needed):
                raise DeviceError(
                    f"{self.name}: the device has {len(found)} {kind}s, needed {len(needed)}.", hint=rebuild
                )
            for index, (have, want) in enumerate(zip(found, needed, strict=True)):
                if _facts(have) != _facts(want):
                    raise DeviceError(
                        f"{self.name}: {kind} {index} ('{want.name}') is {_describe(have)} on the device, "
                        f"needed {_describe(want)}.",
                        hint=rebuild,
                    )
        if not identity.ready:
            raise DeviceError(
                f"{self.name}: the model could not be made ready on the device.",
                hint="the arena may be too small for this model: build the firmware again.",
            )

    def infer(self, inputs: Sequence[Array]) -> Inference:
        """The device's answer to one sample: an array for each model input, in its shape and dtype.

        Raises:  ValueError: arrays of another number, shape or dtype. DeviceError: no answer.
        """
        self._write_inputs(inputs)
        state, _, count = self._progress(Command.INVOKE, b"\0")
        if state != Progress.DONE:
            raise DeviceError(f"{self.name}: paused in an inference that was not traced.")
        return Inference(self._read_outputs(), self._converted(count))

    def trace(self, inputs: Sequence[Array], layers: Sequence[Layer]) -> Inference:
        """As infer, with every layer's output, from a trace build. Nothing is counted.

        Args:    layers: those of the Export that the firmware was built from, in the order of computation.
        Raises:  DeviceError: the device shows other layers than these.
        """
        self._write_inputs(inputs)
        shown: list[Array] = []
        state, number, size = self._progress(Command.INVOKE, bytes([wire.TRACE]))
        while state == Progress.PAUSED:
            if number != len(shown) or number >= len(layers) or size != layers[number].bytes:
                needed = f"layer {len(shown)} of {layers[len(shown)].bytes}" if len(shown) < len(layers) else "the end"
                raise DeviceError(
                    f"{self.name}: the device shows layer {number} of {size} bytes, needed {needed}.",
                    hint="flash the trace image of the same export.",
                )
            layer = layers[number]
            shown.append(_array(self._read(Command.READ_LAYER, 0, size), layer.dtype, layer.shape))
            state, number, size = self._progress(Command.CONTINUE, b"")
        if len(shown) != len(layers):
            raise DeviceError(
                f"{self.name}: the device shows {len(shown)} layers, needed {len(layers)}.",
                hint="flash the trace image of the same export.",
            )
        return Inference(self._read_outputs(), None, tuple(shown))

    def profile(self, inputs: Sequence[Array], layers: Sequence[Layer]) -> tuple[int, ...]:
        """What each layer counts in one inference of a trace build, in `count_unit`; the hook between layers included.

        Args:    layers: those of the Export that the firmware was built from, in the order of computation.
        Raises:  DeviceError: the device counts nothing, or shows other layers than these.
        """
        if self.count_unit is None:
            raise DeviceError(f"{self.name}: the device counts nothing.", hint="profile on a board with a counter.")
        self._write_inputs(inputs)
        counts: list[int] = []
        state, number, ticks = self._progress(Command.INVOKE, bytes([wire.TRACE | wire.PROFILE]))
        while state == Progress.PAUSED:
            if number != len(counts) or number >= len(layers):
                raise DeviceError(
                    f"{self.name}: the device shows layer {number}, needed "
                    + (f"layer {len(counts)}." if len(counts) < len(layers) else "the end."),
                    hint="flash the trace image of the same export.",
                )
            counts.append(max(0, self._converted(ticks) or 0))
            state, number, ticks = self._progress(Command.CONTINUE, b"")
        if len(counts) != len(layers):
            raise DeviceError(
                f"{self.name}: the device shows {len(counts)} layers, needed {len(layers)}.",
                hint="flash the trace image of the same export.",
            )
        return tuple(counts)

    def stack_bytes(self) -> int:
        """The most stack that was ever in use since the device started; 0 where it does not know."""
        return self._stats()[0]

    def arena_used_bytes(self) -> int:
        """Bytes of the arena that the model takes."""
        return self._stats()[1]

    def reset(self) -> None:
        """The model starts anew: whatever state it kept is forgotten."""
        self.link.request(Command.RESET, bytes([Reset.FORGET]))

    def restart(self) -> None:
        """The device itself starts anew, and is identified again.

        Raises:  DeviceError: it does not come back, or comes back as something else.
        """
        try:
            self.link.request(Command.RESET, bytes([Reset.RESTART]))
        except Refused as refusal:
            if refusal.status != Status.NO_SESSION:  # it has restarted already, and the reply to the first try was lost
                raise
        if self._identify() != self.identity:
            raise DeviceError(f"{self.name}: after a restart the device says it is something else.")

    def _identify(self) -> wire.Identity:
        try:
            identity = wire.parse_identity(self.link.hello())
        except wire.WireError as error:
            raise DeviceError(f"{self.name}: HELLO was answered with {error}") from error
        if identity.protocol != wire.PROTOCOL:
            raise DeviceError(
                f"{self.name}: the device speaks frame protocol {identity.protocol}, needed {wire.PROTOCOL}.",
                hint="build its firmware with this version of tensorflash, or use the version that built it.",
            )
        return identity

    def _tensor(self, direction: int, index: int) -> TensorSpec:
        try:
            return wire.parse_tensor(self.link.request(Command.TENSOR, bytes([direction, index])))
        except wire.WireError as error:
            raise DeviceError(f"{self.name}: TENSOR was answered with {error}") from error

    def _write_inputs(self, inputs: Sequence[Array]) -> None:
        if len(inputs) != len(self.inputs):
            raise ValueError(f"{len(inputs)} arrays for {len(self.inputs)} model inputs.")
        for index, (array, spec) in enumerate(zip(inputs, self.inputs, strict=True)):
            if array.dtype != np.dtype(spec.dtype) or array.shape != spec.shape:
                raise ValueError(f"input {index} is {array.dtype} {array.shape}, not {spec.dtype} {spec.shape}.")
            data = array.astype(array.dtype.newbyteorder("<")).tobytes()
            for offset in range(0, len(data), wire.MAX_WRITE):
                part = data[offset : offset + wire.MAX_WRITE]
                self.link.request(Command.WRITE_INPUT, wire.WRITE.pack(index, offset) + part)

    def _progress(self, command: Command, payload: bytes) -> tuple[int, int, int]:
        state, layer, value = self._fields(wire.PROGRESS, command, payload, self._invoke_timeout_s)
        return int(state), int(layer), int(value)

    def _read_outputs(self) -> tuple[Array, ...]:
        return tuple(
            _array(self._read(Command.READ_OUTPUT, index, spec.bytes), spec.dtype, spec.shape)
            for index, spec in enumerate(self.outputs)
        )

    def _read(self, command: Command, index: int, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            length = min(wire.MAX_PAYLOAD, size - len(data))
            part = self.link.request(command, wire.READ.pack(index, len(data), length))
            if len(part) != length:
                raise DeviceError(f"{self.name}: {command.name} was answered with {len(part)} bytes, needed {length}.")
            data += part
        return bytes(data)

    def _stats(self) -> tuple[int, int]:
        stack, arena = self._fields(wire.STATS, Command.STATS, b"", None)
        return int(stack), int(arena)

    def _fields(
        self, form: struct.Struct, command: Command, payload: bytes, timeout_s: float | None
    ) -> tuple[Any, ...]:
        reply = self.link.request(command, payload, timeout_s)
        if len(reply) != form.size:
            raise DeviceError(f"{self.name}: {command.name} was answered with {len(reply)} bytes, needed {form.size}.")
        return form.unpack(reply)

    def _converted(self, count: int) -> int | None:
        if self.identity.counter is Counter.CYCLES:
            return count
        if self.identity.counter is Counter.TICKS and self._emulator is not None:
            return instructions(count, self._emulator)
        return None


def instructions(ticks: int, emulator: Emulator) -> int:
    """Ticks of an emulated board's counter as instructions. Source: the formula of pipeline.board.Emulator."""
    return round(ticks * emulator.tick_ns / 2.0**emulator.icount_shift) - emulator.call_offset


def _array(data: bytes, dtype: str, shape: tuple[int, ...]) -> Array:
    native = np.dtype(dtype)
    return np.frombuffer(data, native.newbyteorder("<")).reshape(shape).astype(native, copy=False)


def _facts(spec: TensorSpec) -> tuple[object, ...]:
    """What has to agree: all but the name, which a device may cut. Scales are float32 there."""
    return spec.dtype, tuple(spec.shape), np.float32(spec.scale).tobytes(), spec.zero_point


def _describe(spec: TensorSpec) -> str:
    return f"{spec.dtype} {list(spec.shape)}, scale {np.float32(spec.scale)}, zero point {spec.zero_point}"
