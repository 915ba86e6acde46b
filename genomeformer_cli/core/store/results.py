"""Checksums of the results in a run, a folder that grows and therefore has no seal.

Beside `summary.json` lies `summary.json.sha256`, in the format that `sha256sum -c` reads. It lists
the result and the files that the result was computed from. It is written first, so that a result
without it is one of an earlier version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.store.atomic import json_text, write_text
from genomeformer_cli.core.store.seal import file_sha256

SUMS_SUFFIX = ".sha256"
_HINT = "put the file back from a backup, or remove the run and train again"


def write_result(path: Path, value: Any, *, sources: Iterable[str] = ()) -> None:
    """Write a JSON file and, before it, its checksums.

    Args:
        path: File to write; it does not exist yet.
        value: JSON value.
        sources: Names of finished files in the same folder that belong to the result.

    Raises:
        StoreError: The system refused a write.
    """
    text = json_text(value)
    sums = {name: file_sha256(path.with_name(name)) for name in sources}
    sums[path.name] = hashlib.sha256(text.encode()).hexdigest()
    write_text(_sums_of(path), "".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    write_text(path, text)


def check_result(path: Path) -> int:
    """Compare a result and its sources with their checksums; return the number of files.

    A result that was not written yet has no files, nor has one of an earlier version.

    Raises:
        CorruptError: A file is missing or changed.
    """
    if not path.exists() or not _sums_of(path).exists():
        return 0
    try:
        lines = _sums_of(path).read_text(encoding="utf-8").splitlines()
        sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except ValueError as failure:
        raise CorruptError(f"`{_sums_of(path)}` is damaged", hint=_HINT) from failure
    for name in (path.name, *sums):
        file = path.with_name(Path(name).name)
        if not file.is_file() or file_sha256(file) != sums.get(name):
            raise CorruptError(
                f"`{file}` does not match its checksum in `{_sums_of(path).name}`", hint=_HINT
            )
    return len(sums)


def check_results(folder: Path) -> int:
    """Compare all results below a folder with their checksums; return the number of files.

    Raises:
        CorruptError: A file is missing or changed.
    """
    return sum(
        check_result(sums.with_suffix("")) for sums in sorted(folder.rglob(f"*.json{SUMS_SUFFIX}"))
    )


def _sums_of(path: Path) -> Path:
    return path.with_name(path.name + SUMS_SUFFIX)
