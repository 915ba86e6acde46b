"""Track of one bit per token, written incrementally: least significant bit first, without gaps."""

from __future__ import annotations

from typing import IO, Protocol

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.sequence import Flags

_COPY_BYTES = 1 << 20


class Sink(Protocol):
    """Binary output."""

    def write(self, content: bytes, /) -> object:
        """Append bytes."""


class BitWriter:
    """Pack flags into a file; bits of an incomplete byte are buffered.

    Args:
        file: Output of the packed bytes.
    """

    def __init__(self, file: Sink) -> None:
        self._file = file
        self._buffer: Flags = np.empty(0, dtype=np.bool_)

    def append(self, flags: Flags) -> None:
        """Append flags."""
        if self._buffer.size:
            flags = np.concatenate([self._buffer, flags])
        num_whole = flags.size - flags.size % 8
        packed = (
            np.packbits(flags[:num_whole], bitorder="little").tobytes()
            if flags.any()
            else bytes(num_whole // 8)
        )
        self._file.write(packed)
        self._buffer = flags[num_whole:].copy()

    def append_packed(self, source: IO[bytes], num_flags: int) -> None:
        """Append a packed track, block by block."""
        while num_flags:
            packed = np.frombuffer(source.read(_COPY_BYTES), dtype=np.uint8)
            count = min(num_flags, packed.size * 8)
            self.append(unpack(packed)[:count])
            num_flags -= count

    def finish(self) -> None:
        """Write the last, incomplete byte."""
        self._file.write(np.packbits(self._buffer, bitorder="little").tobytes())
        self._buffer = self._buffer[:0]


def unpack(packed: npt.NDArray[np.uint8]) -> Flags:
    """Return the flags of packed bytes, eight per byte."""
    return np.unpackbits(packed, bitorder="little").view(np.bool_)
