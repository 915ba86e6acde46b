"""Residual stream of a long row, of which only slices are needed at a time.

A stack that is applied block by block reads and writes its residual stream slice by slice, in
order. Up to a limit the stream is held in memory; beyond it, in an unnamed file in the system's
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
    """Activations (B, L, E), read and written by slices."""

    def read(self, start: int, stop: int) -> Tensor:
        """Return the activations (B, C, E) of some positions; the result must not be modified."""

    def write(self, start: int, values_BCE: Tensor) -> None:
        """Replace the activations from a position on."""


def open_activations(shape: tuple[int, int, int], like: Tensor) -> ActivationStore:
    """Allocate a store in memory, or on disk above the limit.

    Args:
        shape: B, L, E.
        like: Tensor that gives dtype and device.
    """
    batch, length, width = shape
    num_bytes = batch * length * width * like.element_size()
    if num_bytes <= (HELD if like.device.type == "cpu" else HELD_BY_GPU):
        return InMemoryActivations(torch.empty(shape, dtype=like.dtype, device=like.device))
    return OnDiskActivations(batch, width, like)


class InMemoryActivations:
    """Activations in memory.

    Args:
        values_BLE: Tensor that holds them.
    """

    def __init__(self, values_BLE: Tensor) -> None:
        self._values_BLE = values_BLE

    def read(self, start: int, stop: int) -> Tensor:
        """Return the activations (B, C, E) of some positions; the result must not be modified."""
        return self._values_BLE[:, start:stop]

    def write(self, start: int, values_BCE: Tensor) -> None:
        """Replace the activations from a position on."""
        self._values_BLE[:, start : start + values_BCE.shape[1]] = values_BCE


class OnDiskActivations:
    """Activations in a temporary file that is removed with the object.

    Args:
        batch: Number of rows, B.
        width: Features per position, E.
        like: Tensor that gives dtype and device.

    Raises:
        StoreError: There is no folder for temporary files.
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
        """Return the activations (B, C, E) of some positions."""
        values_CBE = torch.empty(stop - start, self._batch, self._width, dtype=self._like.dtype)
        rest = _bytes_of(values_CBE)
        place = start * self._bytes_of_position
        while rest:
            number = os.preadv(self._file.fileno(), [rest], place)
            assert number, "positions are written before they are read"
            rest, place = rest[number:], place + number
        return values_CBE.to(self._like.device).transpose(0, 1)

    def write(self, start: int, values_BCE: Tensor) -> None:
        """Replace the activations from a position on.

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
