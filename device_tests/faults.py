"""A line that does what bad lines do, with a seeded chance for each bit or byte, in both directions."""

from __future__ import annotations

import random
import time

from pipeline.devices.link import ByteStream

FLIPS_PER_BIT = 1e-4
LOSSES_PER_BYTE = 1e-3

# The name of a fault -> what it does.
FAULTS = {
    "flip": "turns bits over, one in 10,000",
    "drop": "loses bytes, one in 1,000",
    "double": "says bytes twice, one in 1,000",
    "crumbs": "hands over one byte at a time",
    "stall": "keeps silent for a second, one read in 50",
    "noise": "puts 64 arbitrary bytes before what comes, one read in 20",
    "cut": "loses the rest of a frame, one in 20, as when a cable is bumped",
    "all": "does all of this, the flips as often, the others a tenth as often",
}


class FaultyStream:
    """A good stream with faults in it. injected counts them.

    Args:  fault: a key of FAULTS.
    """

    def __init__(self, line: ByteStream, fault: str, seed: int) -> None:
        if fault not in FAULTS:
            raise ValueError(f"no fault '{fault}'; there are {', '.join(FAULTS)}.")
        self.injected = 0
        self._line, self._fault = line, fault
        self._random = random.Random(seed)
        self._waiting = b""

    def read(self, most: int, timeout_s: float) -> bytes:
        """1 to `most` bytes of what came, or of what became of it."""
        if self._does("stall", 0.02):
            time.sleep(min(1.0, timeout_s))
            return b""
        if not self._waiting:
            came = self._line.read(most, timeout_s)
            self._waiting = self._spoiled(came) if came else b""
        size = 1 if self._does("crumbs", 1.0) else most
        data, self._waiting = self._waiting[:size], self._waiting[size:]
        return data

    def write(self, data: bytes) -> None:
        """Sends what becomes of it."""
        spoiled = self._spoiled(data)
        size = 1 if self._does("crumbs", 1.0) else max(1, len(spoiled))
        for at in range(0, len(spoiled), size):
            self._line.write(spoiled[at : at + size])

    def close(self) -> None:
        """Closes the good stream."""
        self._line.close()

    def _does(self, fault: str, probability: float) -> bool:
        if self._fault not in (fault, "all"):
            return False
        often = 0.1 if self._fault == "all" and fault != "flip" else 1.0
        if self._random.random() >= often * probability:
            return False
        self.injected += 1
        return True

    def _spoiled(self, data: bytes) -> bytes:
        out = bytearray()
        if self._does("noise", 0.05):
            out += self._random.randbytes(64)
        for byte in data:
            if self._does("drop", LOSSES_PER_BYTE):
                continue
            for bit in range(8):
                if self._does("flip", FLIPS_PER_BIT):
                    byte ^= 1 << bit
            out.append(byte)
            if self._does("double", LOSSES_PER_BYTE):
                out.append(byte)
        if self._does("cut", 0.05):
            del out[self._random.randrange(len(out) + 1) :]
        return bytes(out)
