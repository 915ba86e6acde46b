"""The residual stream of a long row, of which only slices are ever needed at once.

A stack that is applied block by block reads and writes its residual stream slice by slice, in
order. Up to a bound it is held in memory; beyond, it lies in a file without a name in the system's
folder for temporary files (`TMPDIR`), so that memory does not grow with the row.
Shape letters: B batch, L length, C positions of a slice, E width.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genomeformer_cli.core.errors import StoreError

# Bytes that are held in memory at most: of the machine, of a GPU.
HELD, HELD_BY_GPU = 1 << 28, 1 << 32


class ActivationStore(Protocol):
    """Numbers (B, L, E), read and written by slices."""

    def read(self, start: int, stop: int) -> Tensor:
        """Numbers (B, C, E) of some positions; to be read, not to be changed."""

    def write(self, start: int, values_BCE: Tensor) -> None:
        """Put numbers in the place of those from a position on."""


def open_activations(shape: tuple[int, int, int], like: Tensor) -> ActivationStore:
    """Room for a stream.

    Args:
        shape: B, L, E.
        like: Gives the kind of number and the device.
    """
    batch, length, width = shape
    num_bytes = batch * length * width * like.element_size()
    if num_bytes <= (HELD if like.device.type == "cpu" else HELD_BY_GPU):
        return InMemoryActivations(torch.empty(shape, dtype=like.dtype, device=like.device))
    return OnDiskActivations(batch, width, like)


class InMemoryActivations:
    """A stream in memory.

    Args:
        values_BLE: Its room.
    """

    def __init__(self, values_BLE: Tensor) -> None:
        self._values_BLE = values_BLE

    def read(self, start: int, stop: int) -> Tensor:
        """Numbers (B, C, E) of some positions; to be read, not to be changed."""
        return self._values_BLE[:, start:stop]

    def write(self, start: int, values_BCE: Tensor) -> None:
        """Put numbers in the place of those from a position on."""
        self._values_BLE[:, start : start + values_BCE.shape[1]] = values_BCE


class OnDiskActivations:
    """A stream in a file that is gone when the stream is.

    Args:
        batch: B.
        width: E.
        like: Gives the kind of number and the device.

    Raises:
        StoreError: There is no place for temporary files.
    """

    def __init__(self, batch: int, width: int, like: Tensor) -> None:
        self._batch, self._width, self._like = batch, width, like
        self._bytes_of_position = batch * width * like.element_size()
        try:
            file = tempfile.TemporaryFile(prefix="genomeformer-", buffering=0)  # noqa: SIM115 - closed with us
        except OSError as failure:
            raise _refused(failure) from failure
        weakref.finalize(self, file.close)
        self._file = file

    def read(self, start: int, stop: int) -> Tensor:
        """Numbers (B, C, E) of some positions."""
        values_CBE = torch.empty(stop - start, self._batch, self._width, dtype=self._like.dtype)
        rest = _bytes_of(values_CBE)
        place = start * self._bytes_of_position
        while rest:
            number = os.preadv(self._file.fileno(), [rest], place)
            assert number, "positions are written before they are read"
            rest, place = rest[number:], place + number
        return values_CBE.to(self._like.device).transpose(0, 1)

    def write(self, start: int, values_BCE: Tensor) -> None:
        """Put numbers in the place of those from a position on.

        Raises:
            StoreError: The system refused the write.
        """
        values_CBE = values_BCE.transpose(0, 1).contiguous().cpu()
        rest = _bytes_of(values_CBE)
        place = start * self._bytes_of_position
        try:
            while rest:
                number = os.pwrite(self._file.fileno(), rest, place)
                rest, place = rest[number:], place + number
        except OSError as failure:
            raise _refused(failure) from failure


def _refused(failure: OSError) -> StoreError:
    reason = failure.strerror or str(failure)
    return StoreError(
        f"the features of a long sequence could not be put into a temporary file: {reason}",
        hint="point `TMPDIR` to a place with more room, or leave `--window whole` out",
    )


def _bytes_of(values: Tensor) -> memoryview:
    raw: npt.NDArray[np.uint8] = values.flatten().view(torch.uint8).numpy()
    return raw.data
