"""Others who watch a run, row by row: TensorBoard, if it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from genomeformer_cli.core.errors import MissingExtraError

FOLDER = "tensorboard"


class Observer(Protocol):
    """Is shown every row of the metrics."""

    def row(self, row: Mapping[str, Any]) -> None:
        """Take a step's row."""

    def close(self) -> None:
        """Write what is not written yet."""


OpenObserver = Callable[[Path, int], Observer]


class Tensorboard:
    """Writes event files.

    Args:
        folder: Of the run.
        resume_step: Rows after this step were shown before a kill; they are taken back.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, resume_step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as failure:
            raise MissingExtraError(
                "TensorBoard is not installed", hint="pip install 'genomeformer[tensorboard]'"
            ) from failure
        make: Any = SummaryWriter
        self._writer = make(str(folder / FOLDER), purge_step=resume_step + 1)

    def row(self, row: Mapping[str, Any]) -> None:
        """Write every number of a row."""
        for name, number in _numbers(row):
            if name != "step":
                self._writer.add_scalar(name, number, row["step"])

    def close(self) -> None:
        """Write what is not written yet."""
        self._writer.close()


def open_tensorboard(folder: Path, resume_step: int) -> Observer:
    """TensorBoard's files in a run folder."""
    return Tensorboard(folder, resume_step)


def _numbers(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            yield f"{prefix}{key}", float(value)
