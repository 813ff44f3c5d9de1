"""A line that does what bad lines do, with a seeded chance for each bit or byte, in both directions."""

from __future__ import annotations

import random
import time

from pipeline.devices.link import ByteStream

FLIPS_PER_BIT = 1e-4
FAULTS_PER_BYTE = 1e-3
_NOISE_BYTES = 64
_STALL_S = 1.0

# The name of a fault -> what it does.
FAULTS = {
    "flip": "turns bits over, one in 10,000",
    "drop": "loses bytes, one in 1,000",
    "double": "says bytes twice, one in 1,000",
    "crumbs": "hands over one byte at a time",
    "stall": "keeps what comes back for a second, one byte in 1,000",
    "noise": "puts 64 arbitrary bytes before a byte, one in 1,000",
    "cut": "loses up to 64 bytes in a row, at one byte in 1,000, as when a cable is bumped",
    "all": "does all of this, the flips as often, the others a tenth as often",
}


class FaultyStream:
    """A good stream with faults in it, the same ones for a seed however the bytes are cut up. injected counts them.

    Args:  fault: a key of FAULTS.
    """

    def __init__(self, line: ByteStream, fault: str, seed: int) -> None:
        if fault not in FAULTS:
            raise ValueError(f"no fault '{fault}'; there are {', '.join(FAULTS)}.")
        self.injected = 0
        self._line, self._fault = line, fault
        self._chances = {"in": random.Random(2 * seed), "out": random.Random(2 * seed + 1)}
        self._to_lose = {"in": 0, "out": 0}
        self._waiting = b""
        self._silent_until_s = 0.0

    def read(self, most: int, timeout_s: float) -> bytes:
        """1 to `most` bytes of what came, or of what became of it; none after timeout_s, or a little later."""
        left_s = self._silent_until_s - time.monotonic()
        if left_s > 0:
            time.sleep(min(left_s, timeout_s))
            return b""
        if not self._waiting:
            self._waiting = self._spoiled(self._line.read(most, timeout_s), "in")
            if self._silent_until_s > time.monotonic():
                return b""
        size = 1 if self._hands_crumbs("in") else most
        data, self._waiting = self._waiting[:size], self._waiting[size:]
        return data

    def write(self, data: bytes) -> None:
        """Sends what becomes of it."""
        spoiled = self._spoiled(data, "out")
        size = 1 if self._hands_crumbs("out") else max(1, len(spoiled))
        for at in range(0, len(spoiled), size):
            self._line.write(spoiled[at : at + size])

    def close(self) -> None:
        """Closes the good stream."""
        self._line.close()

    def _hands_crumbs(self, way: str) -> bool:
        return self._does("crumbs", 1.0, way)

    def _does(self, fault: str, probability: float, way: str) -> bool:
        if self._fault not in (fault, "all"):
            return False
        often = 0.1 if self._fault == "all" and fault != "flip" else 1.0
        if self._chances[way].random() >= often * probability:
            return False
        self.injected += 1
        return True

    def _spoiled(self, data: bytes, way: str) -> bytes:
        chance = self._chances[way]
        out = bytearray()
        for byte in data:
            if self._does("cut", FAULTS_PER_BYTE, way):
                self._to_lose[way] = chance.randrange(1, _NOISE_BYTES + 1)
            if self._to_lose[way]:
                self._to_lose[way] -= 1
                continue
            if self._does("noise", FAULTS_PER_BYTE, way):
                out += chance.randbytes(_NOISE_BYTES)
            if way == "in" and self._does("stall", FAULTS_PER_BYTE, way):
                self._silent_until_s = time.monotonic() + _STALL_S
            if self._does("drop", FAULTS_PER_BYTE, way):
                continue
            for bit in range(8):
                if self._does("flip", FLIPS_PER_BIT, way):
                    byte ^= 1 << bit
            out.append(byte)
            if self._does("double", FAULTS_PER_BYTE, way):
                out.append(byte)
        return bytes(out)
