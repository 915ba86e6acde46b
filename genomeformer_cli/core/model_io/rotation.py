"""Checkpoints of a run: keep the newest few, and skip damaged ones with a warning."""

from __future__ import annotations

import shutil
from pathlib import Path

from genomeformer_cli.core.errors import CheckpointError, CorruptError
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.seal import check_seal

_PREFIX = "step-"


def checkpoint_folder(run: Path, step: int) -> Path:
    """Return the folder of the checkpoint after `step` steps."""
    return run / "checkpoints" / f"{_PREFIX}{step:08d}"


def list_checkpoints(run: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    return sorted(folder for folder in (run / "checkpoints").glob(f"{_PREFIX}*") if folder.is_dir())


def newest_valid_checkpoint(run: Path, reporter: Reporter) -> Path | None:
    """Return the newest checkpoint with valid checksums; None if the run has no checkpoint.

    Raises:
        CheckpointError: Every checkpoint is damaged.
    """
    checkpoints = list_checkpoints(run)
    for folder in reversed(checkpoints):
        try:
            check_seal(folder)
        except CorruptError as failure:
            reporter.warn(f"{failure.message}; trying the checkpoint before it")
            continue
        return folder
    if checkpoints:
        raise CheckpointError(
            f"every checkpoint of `{run}` is damaged", hint="remove the run and train again"
        )
    return None


def drop_old_checkpoints(run: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints."""
    for folder in list_checkpoints(run)[:-keep]:
        shutil.rmtree(folder)
