"""File with the error of a worker process, read by the launcher.

A configuration error or a bug recurs at every restart: the first process that meets it writes it to
a file without printing; restarted processes find the file and exit; the launcher shows the error
once. Errors that a restart may solve are not written: a lost process, a failed GPU.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import GenomeformerError, LostProcessError, TrainingError
from genomeformer_cli.core.settings import launch_folder

_FILE = "verdict.json"
_A_GPU_FAILED = "CUDA error"


def write_failure(failure: Exception) -> bool:
    """Write the failure to the launch folder. Return False if no launcher will read it."""
    folder = launch_folder()
    if folder is None:
        return False
    if not isinstance(failure, LostProcessError) and _A_GPU_FAILED not in str(failure):
        document = {"kind": type(failure).__name__, "message": str(failure)}
        if isinstance(failure, GenomeformerError):
            document["hint"] = failure.hint or ""
        with suppress(OSError), (folder / _FILE).open("x", encoding="utf-8") as file:
            file.write(json.dumps(document))
    return True


def has_failure() -> bool:
    """Return True if a process of this launch has written a failure."""
    folder = launch_folder()
    return folder is not None and (folder / _FILE).exists()


def read_failure(folder: Path) -> GenomeformerError | None:
    """Return the failure of the processes, if one has written it."""
    try:
        document: dict[str, str] = read_json(folder / _FILE, dict[str, str])
    except DocumentError:
        return None
    document = {"kind": "failure", "message": "", "hint": "", **document}
    kinds = {kind.__name__: kind for kind in _kinds(GenomeformerError)}
    if document["kind"] in kinds:
        return kinds[document["kind"]](document["message"], hint=document["hint"] or None)
    return TrainingError(
        f"unexpected {document['kind']} in one of the processes: {document['message']}",
        hint="run it again with `genomeformer --debug ...` to see where; it may be a bug",
    )


def _kinds(root: type[GenomeformerError]) -> Iterator[type[GenomeformerError]]:
    for kind in root.__subclasses__():
        # Those with arguments of their own are told as what they are a kind of.
        if kind.__init__ is GenomeformerError.__init__:
            yield kind
        yield from _kinds(kind)


def worker_failure(who: str, exit_code: int, folder: Path, restarts: int) -> TrainingError:
    """Build the error for a worker that exited repeatedly without reporting a failure.

    Args:
        who: Description of the worker.
        exit_code: Exit code of the process; negative signal number if killed.
        folder: Folder with the output of the processes other than the main one.
        restarts: Number of restarts.
    """
    how = (
        f"by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"with exit code {exit_code}"
    )
    lines = [
        line.strip()
        for path in sorted(folder.glob("logs/**/stderr.log"))
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    last = f": {lines[-1]}" if lines else ""
    return TrainingError(
        f"{who} was ended {how}, after {restarts} restarts{last}",
        hint="the same command resumes from the newest checkpoint; SIGKILL often means too little "
        "memory: fewer processes, or a smaller `--batch-size`",
    )
