"""A track of one bit a token, written as it comes: least significant first, no gaps at borders."""

from __future__ import annotations

from typing import IO, Protocol

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.sequence import Flags

_COPY_BYTES = 1 << 20


class Sink(Protocol):
    """Takes bytes."""

    def write(self, content: bytes, /) -> object:
        """Append some."""


class BitWriter:
    """Packs flags into a file; what does not fill a byte waits for the next flags.

    Args:
        file: Where the bytes go.
    """

    def __init__(self, file: Sink) -> None:
        self._file = file
        self._waiting: Flags = np.empty(0, dtype=np.bool_)

    def append(self, flags: Flags) -> None:
        """Add some flags."""
        if self._waiting.size:
            flags = np.concatenate([self._waiting, flags])
        whole = flags.size - flags.size % 8
        packed = (
            np.packbits(flags[:whole], bitorder="little").tobytes()
            if flags.any()
            else bytes(whole // 8)
        )
        self._file.write(packed)
        self._waiting = flags[whole:].copy()

    def append_packed(self, source: IO[bytes], num_flags: int) -> None:
        """Add a whole packed track, in pieces."""
        while num_flags:
            packed = np.frombuffer(source.read(_COPY_BYTES), dtype=np.uint8)
            count = min(num_flags, packed.size * 8)
            self.append(unpack(packed)[:count])
            num_flags -= count

    def finish(self) -> None:
        """Write the last, unfilled byte."""
        self._file.write(np.packbits(self._waiting, bitorder="little").tobytes())
        self._waiting = self._waiting[:0]


def unpack(packed: npt.NDArray[np.uint8]) -> Flags:
    """The flags of packed bytes, eight a byte."""
    return np.unpackbits(packed, bitorder="little").view(np.bool_)
