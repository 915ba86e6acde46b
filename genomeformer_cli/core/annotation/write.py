"""Writer of labelled windows: FASTA, and a table with one row per record.

Coordinates are 0-based and half-open, as in BED, on the strand of the genome's FASTA file. A window
across the origin of a circle ends past the record's length.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from filecmp import cmp
from pathlib import Path
from typing import IO

from genomeformer_cli.core.annotation.sampling import Window
from genomeformer_cli.core.annotation.windows import strand_sign
from genomeformer_cli.core.errors import EntryExistsError
from genomeformer_cli.core.store.atomic import atomic_file

COLUMNS = (
    *("id", "label", "genome", "record", "start", "end", "strand", "feature_strand"),
    *("feature", "gene", "locus_tag", "phase", "gc"),
)


def output_paths(prefix: Path) -> tuple[Path, Path]:
    """Return the paths of both files: `PREFIX.fa` and `PREFIX.tsv`, or `windows.*` in a folder."""
    if prefix.is_dir():
        prefix = prefix / "windows"
    return prefix.with_name(f"{prefix.name}.fa"), prefix.with_name(f"{prefix.name}.tsv")


def refuse_to_overwrite(paths: tuple[Path, ...]) -> None:
    """Check that the output does not exist, before the work begins.

    A single file may be left by a killed run; `open_writer` compares it at the end.

    Raises:
        EntryExistsError: Both files exist.
    """
    if all(path.exists() for path in paths):
        raise _exists(paths[0])


def _exists(path: Path) -> EntryExistsError:
    return EntryExistsError(
        f"`{path}` exists", hint="choose another `-o`, or replace it with `--force`"
    )


class WindowWriter:
    """Writer of windows; see `open_writer`."""

    def __init__(self, fasta: IO[bytes], table: IO[bytes]) -> None:
        self._fasta = fasta
        self._table = table
        self._table.write(("\t".join(COLUMNS) + "\n").encode())

    def write(self, window: Window) -> None:
        """Append a window."""
        name = window_id(window)
        self._fasta.write(f">{name}\n{window.sequence}\n".encode())
        self._table.write(("\t".join(_row(name, window)) + "\n").encode())


@contextmanager
def open_writer(paths: tuple[Path, Path], *, force: bool) -> Iterator[WindowWriter]:
    """Open both files; they are created at the end of the block, and not if it fails.

    Args:
        paths: FASTA and table.
        force: Replace files with other content.

    Raises:
        StoreError: A write failed.
        EntryExistsError: A file with other content exists, and `force` is false.
    """
    with ExitStack() as stack:
        fasta, table = (stack.enter_context(atomic_file(path)) for path in paths)
        yield WindowWriter(fasta, table)
        for path, file in zip(paths, (fasta, table), strict=True):
            file.flush()
            if not force and path.exists() and not cmp(path, file.name, shallow=False):
                raise _exists(path)


def window_id(window: Window) -> str:
    """Return `GENOME:RECORD:START-END:STRAND`, with the coordinates of the table."""
    candidate = window.candidate
    sign = strand_sign(window.strand)
    return f"{window.genome}:{window.record}:{candidate.start}-{candidate.end}:{sign}"


def _row(name: str, window: Window) -> list[str]:
    candidate, feature = window.candidate, window.candidate.feature
    names = (feature.id, feature.gene, feature.locus_tag) if feature else ("", "", "")
    cells = [
        *(
            name,
            candidate.label.value,
            window.genome,
            window.record,
            str(candidate.start),
            str(candidate.end),
        ),
        *(strand_sign(window.strand), strand_sign(candidate.strand), *names),
        *("" if candidate.phase is None else str(candidate.phase), _gc(window.sequence)),
    ]
    # An escaped tab or line end in a name would split a cell or row.
    return [" ".join(cell.split()) for cell in cells]


def _gc(sequence: str) -> str:
    num_gc = sequence.count("G") + sequence.count("C")
    num_known = len(sequence) - sequence.count("N")
    return f"{num_gc / num_known:.4f}" if num_known else ""
