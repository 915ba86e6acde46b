"""Optional run loggers: TensorBoard and Weights & Biases."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from genomeformer_cli.core.errors import MissingExtraError, TrainingError
from genomeformer_cli.core.store.atomic import write_text

FOLDER = "tensorboard"
WANDB_ID_FILE = "wandb.id"


@dataclass(frozen=True, kw_only=True)
class LoggingConfig:
    """Services that show a run, beside its own `metrics.jsonl`."""

    tensorboard: bool = False  # Write `tensorboard/` in the run folder (extra `tensorboard`).
    # Project of Weights & Biases that shows the run too (extra `wandb`); empty: none.
    wandb: str = ""


class RunLogger(Protocol):
    """Receiver of every row of the metrics."""

    def row(self, row: Mapping[str, Any]) -> None:
        """Log the row of a step."""

    def close(self) -> None:
        """Flush and close."""


OpenObserver = Callable[[Path, int], RunLogger]


class TensorboardLogger:
    """Writer of TensorBoard event files.

    Args:
        folder: Run folder.
        resume_step: Rows after this step were logged before a kill and are purged.

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
        """Log every number of a row."""
        for name, number in _numbers(row):
            if name != "step":
                self._writer.add_scalar(name, number, row["step"])

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


class WandbLogger:
    """Logger that sends rows to Weights & Biases, or stores them in `wandb/` (`WANDB_MODE`).

    The remote run has one id, stored in the run folder, and is resumed together with the run. Steps
    that were sent before a kill keep their numbers and are not sent twice.

    Args:
        folder: Run folder.
        resume_step: Ignored, because the service knows the steps that were sent.
        project: Project of the run.
        config: Settings of the run.

    Raises:
        MissingExtraError: Weights & Biases is not installed.
        TrainingError: The service cannot be reached, or no user is logged in.
    """

    def __init__(
        self, folder: Path, resume_step: int, *, project: str, config: Mapping[str, Any]
    ) -> None:
        del resume_step
        try:
            import wandb
        except ImportError as failure:
            raise MissingExtraError(
                "Weights & Biases is not installed", hint="pip install 'genomeformer[wandb]'"
            ) from failure
        quiet = wandb.Settings(console="off", disable_git=True, disable_code=True)
        try:
            self._run: Any = wandb.init(
                project=project,
                name=folder.name,
                id=_lasting_id(folder / WANDB_ID_FILE),
                resume="allow",
                dir=str(folder),
                config=dict(config),
                settings=quiet,
            )
        except wandb.Error as failure:
            raise TrainingError(
                f"Weights & Biases: {failure}",
                hint="`wandb login`, or `WANDB_MODE=offline` to send it later with `wandb sync`",
            ) from failure
        self._first_step = int(getattr(self._run, "step", 0))

    def row(self, row: Mapping[str, Any]) -> None:
        """Log every number of a row, unless that step was sent before."""
        if row["step"] < self._first_step:
            return
        numbers = {name: number for name, number in _numbers(row) if name != "step"}
        self._run.log(numbers, step=row["step"])

    def close(self) -> None:
        """Flush and close."""
        self._run.finish()


def _lasting_id(path: Path) -> str:
    if not path.exists():
        write_text(path, secrets.token_hex(8))
    return path.read_text(encoding="ascii")


def _numbers(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            yield f"{prefix}{key}", float(value)
