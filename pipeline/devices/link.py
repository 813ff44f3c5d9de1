"""Requests and their replies over a byte stream that may lose, damage or repeat what it carries."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterator
from typing import Protocol

from pipeline import wire
from pipeline.errors import DeviceError
from pipeline.wire import Command, Frame, Status

REPLY_TIMEOUT_S = 10.0
INVOKE_TIMEOUT_S = 120.0
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 4.0
_SHOWN_BYTES = 64
_LONGEST_BLOCK = wire.MAX_FRAME + wire.MAX_FRAME // 254 + 1


class ByteStream(Protocol):
    """What carries the frames."""

    def read(self, most: int, timeout_s: float) -> bytes:
        """1 to `most` bytes, as soon as there are any; none after timeout_s. DeviceError when it has ended."""

    def write(self, data: bytes) -> None:
        """Sends all of it. DeviceError when that cannot be done."""

    def close(self) -> None:
        """Releases what the stream holds; may be called more than once."""


class Refused(DeviceError):
    """The device understood a request and did not carry it out."""

    def __init__(self, message: str, status: int, hint: str | None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


# Status -> what it means, and what to do.
_REASONS: dict[int, tuple[str, str | None]] = {
    Status.NO_SESSION: (
        "it has restarted since the session began",
        "check its supply, and whether a watchdog or a fault restarts it.",
    ),
    Status.OUT_OF_ORDER: ("another host talks to it too", "close what else uses this device."),
    Status.INIT_FAILED: (
        "the model could not be made ready",
        "the arena may be too small for this model: build the firmware again.",
    ),
    Status.INVOKE_FAILED: ("the model could not be run", None),
    Status.NO_TRACE: ("this build has no trace", "flash the image of the environment `trace`."),
    Status.UNSUPPORTED: (f"the firmware serves at most {wire.MAX_INPUTS} model inputs", None),
}


class FrameLink:
    """One request at a time, each executed at most once however often it has to be sent.

    A request that brings no reply is sent again, after waits that grow from first_wait_s, until its timeout. Replies
    that belong to other requests, and damaged ones, are dropped.

    Args:  name: what error messages call the device. first_sequence: the number to begin with, random where None, so
           that no reply left over from an earlier host is taken for ours.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        name: str = "the device",
        first_wait_s: float = _FIRST_WAIT_S,
        timeout_s: float = REPLY_TIMEOUT_S,
        first_sequence: int | None = None,
    ) -> None:
        self.name = name
        self.stream = stream
        self._first_wait_s = first_wait_s
        self._timeout_s = timeout_s
        self._sequence = random.getrandbits(32) if first_sequence is None else first_sequence
        self._received = b""
        self._shown = b""

    def hello(self, timeout_s: float | None = None) -> bytes:
        """Starts a session, whatever was before; returns the identity, for wire.parse_identity.

        Raises:  DeviceError: no device that speaks frames answers in time.
        """
        for _ in range(4):
            reply = self._exchange(Command.HELLO, b"", timeout_s)
            if reply.status != Status.OUT_OF_ORDER or len(reply.payload) != 4:
                return self._payload(Command.HELLO, reply)
            (expected,) = struct.unpack("<I", reply.payload)
            self._sequence = (expected - 1) % 2**32
        raise self._refused(Command.HELLO, reply)

    def request(self, command: Command, payload: bytes = b"", timeout_s: float | None = None) -> bytes:
        """Sends a request and returns the payload of its reply.

        Raises:  Refused: the device answered with another status than OK.
                 DeviceError: no answer in time, or the stream has ended.
        """
        return self._payload(command, self._exchange(command, payload, timeout_s))

    def close(self) -> None:
        """Closes the stream."""
        self.stream.close()

    def _payload(self, command: Command, reply: Frame) -> bytes:
        if reply.status != Status.OK:
            raise self._refused(command, reply)
        return reply.payload

    def _exchange(self, command: Command, payload: bytes, timeout_s: float | None) -> Frame:
        self._sequence = (self._sequence + 1) % 2**32
        request = wire.encode(Frame(command, self._sequence, payload))
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        attempts = 0
        for wait_s in self._waits(timeout_s):
            attempts += 1
            self.stream.write(request)
            reply = self._await(command | wire.REPLY, wait_s)
            if reply is not None:
                return reply
        seen = f"the last bytes were {_dump(self._shown)}" if self._shown else "nothing was received"
        raise DeviceError(
            f"{self.name}: no answer to {command.name} after {attempts} attempts in {timeout_s:g} s; {seen}.",
            hint="is this the right port, and is it the image of the environment `verify` or `trace`?",
        )

    def _waits(self, timeout_s: float) -> Iterator[float]:
        wait_s, left_s = self._first_wait_s, timeout_s
        while left_s > 0:
            yield min(wait_s, left_s)
            left_s -= wait_s
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _await(self, kind: int, wait_s: float) -> Frame | None:
        """The reply to the current request, from what arrives within wait_s."""
        deadline = time.monotonic() + wait_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            data = self.stream.read(4096, left_s)
            self._shown = (self._shown + data)[-_SHOWN_BYTES:]
            *blocks, rest = (self._received + data).split(b"\0")
            self._received = rest[-_LONGEST_BLOCK:]
            for block in blocks:
                frame = wire.decode(block) if block else None
                if frame is not None and frame.sequence == self._sequence and frame.type == kind:
                    return frame
            if left_s == 0.0:
                return None

    def _refused(self, command: Command, reply: Frame) -> Refused:
        status = Status(reply.status).name if reply.status in set(Status) else f"status {reply.status}"
        meaning, hint = _REASONS.get(reply.status, ("", None))
        reason = f"{status}: {meaning}" if meaning else status
        return Refused(f"{self.name}: {command.name} was refused with {reason}.", reply.status, hint)


def _dump(data: bytes) -> str:
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
    return f"{data.hex(' ')} |{text}|"
