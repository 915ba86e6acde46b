"""Others who watch a run, row by row: TensorBoard, Weights & Biases, if they are asked for."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from genomeformer_cli.core.errors import MissingExtraError, TrainingError
from genomeformer_cli.core.store.atomic import write_text

FOLDER = "tensorboard"
WANDB_ID_FILE = "wandb.id"


class RunLogger(Protocol):
    """Is shown every row of the metrics."""

    def row(self, row: Mapping[str, Any]) -> None:
        """Take a step's row."""

    def close(self) -> None:
        """Write what is not written yet."""


OpenObserver = Callable[[Path, int], RunLogger]


class TensorboardLogger:
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


def open_tensorboard_logger(folder: Path, resume_step: int) -> RunLogger:
    """TensorBoard's files in a run folder."""
    return TensorboardLogger(folder, resume_step)


class WandbLogger:
    """Sends rows to Weights & Biases, or keeps them in `wandb/` of the run folder (`WANDB_MODE`).

    The run there has one id, kept beside ours, and goes on when ours does. Steps that were sent
    before a kill and come again have the same numbers, and are not sent twice.

    Args:
        folder: Of the run.
        project: Where it is listed.
        config: Settings of the run, shown beside it.

    Raises:
        MissingExtraError: Weights & Biases is not installed.
        TrainingError: It cannot be reached, or nobody is logged in.
    """

    def __init__(self, folder: Path, project: str, config: Mapping[str, Any]) -> None:
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
        self._shown = int(getattr(self._run, "step", 0))

    def row(self, row: Mapping[str, Any]) -> None:
        """Send every number of a row, unless that step was sent before."""
        if row["step"] < self._shown:
            return
        numbers = {name: number for name, number in _numbers(row) if name != "step"}
        self._run.log(numbers, step=row["step"])

    def close(self) -> None:
        """Send what is not sent yet."""
        self._run.finish()


def _lasting_id(path: Path) -> str:
    if not path.exists():
        write_text(path, secrets.token_hex(8))
    return path.read_text(encoding="ascii")


def open_wandb_logger(project: str, config: Mapping[str, Any]) -> OpenObserver:
    """Weights & Biases, for a run of that configuration."""

    def opened(folder: Path, resume_step: int) -> RunLogger:
        del resume_step
        return WandbLogger(folder, project, config)

    return opened


def _numbers(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            yield f"{prefix}{key}", float(value)
