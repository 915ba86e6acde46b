"""Finished parts of a prediction on disk, from which an interrupted command resumes.

A part holds the predictions of one group of sequences, a fixed stretch of the input. The final
output is always written from all parts, so an interrupted and an uninterrupted run give equal
bytes. Every part has a checksum; a damaged one is computed again.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.store.atomic import atomic_file, write_json

Floats = npt.NDArray[np.float64]
_JOB = "job.json"
_DIGEST_BYTES = 32


class PredictionParts:
    """Folder of finished parts.

    Args:
        folder: Private folder; created if missing.
        job: Identity of the job; parts of another job are discarded.
        resume: Use the finished parts of the same job.

    Attributes:
        num_found: Parts of an earlier run.
        was_discarded: True if the folder held parts of another job.
    """

    def __init__(self, folder: Path, *, job: str, resume: bool) -> None:
        self._folder = folder
        self.num_found = 0
        self.was_discarded = False
        if folder.exists():
            is_same = resume and _read_job(folder) == job
            self.was_discarded = resume and not is_same
            if not is_same:
                shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.num_found = sum(1 for _ in folder.glob("*.npy"))
        write_json(folder / _JOB, {"job": job})

    def read(self, number: int) -> list[Floats] | None:
        """Return the predictions of a part; None if it is missing or damaged."""
        try:
            content = self._path(number).read_bytes()
        except FileNotFoundError:
            return None
        digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            return None
        file = io.BytesIO(body)
        sizes = np.load(file, allow_pickle=False)
        rows = np.load(file, allow_pickle=False)
        return list(np.split(rows, np.cumsum(sizes)[:-1]))

    def write(self, number: int, predictions: Sequence[Floats]) -> None:
        """Store the predictions of a part.

        Raises:
            StoreError: The file cannot be written.
        """
        body = io.BytesIO()
        sizes = np.array([rows.shape[0] for rows in predictions], dtype=np.int64)
        np.save(body, sizes, allow_pickle=False)
        np.save(body, np.concatenate(predictions), allow_pickle=False)
        content = body.getvalue()
        with atomic_file(self._path(number)) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def remove(self) -> None:
        """Remove the folder, when its output is complete."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def remove_if_empty(self) -> None:
        """Remove the folder after a failure before the first part was finished."""
        if not any(self._folder.glob("*.npy")):
            self.remove()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}.npy"


def parts_folder(output: Path) -> Path:
    """Return the folder of the parts of an output."""
    return output.with_name(f".{output.name}.partial")


def _read_job(folder: Path) -> str | None:
    try:
        fields = read_json(folder / _JOB)
    except DocumentError:
        return None
    return str(fields.get("job"))
