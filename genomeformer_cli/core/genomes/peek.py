"""The first records of a file, letters as they stand: no more of it is read than is shown."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from genomeformer_cli.core.formats.fasta import Record, read_records, refuse_other_formats
from genomeformer_cli.core.formats.inflate import TextReader


@dataclass(frozen=True, kw_only=True)
class Peek:
    """What stands at the head of a file.

    Attributes:
        records: The first ones; the last may be the beginning of one.
        whole: Whether that is the whole file.
        last_is_whole: Whether the last record is.
    """

    records: tuple[Record, ...]
    whole: bool
    last_is_whole: bool


def peek_records(path: Path, num_letters: int, *, shown: str) -> Peek:
    """Read records until they hold so many letters, each record counted as one at least.

    Args:
        path: FASTA or FASTQ, plain or gzip'd.
        num_letters: How many are wanted; the last record is cut there.
        shown: The name used in errors.

    Raises:
        FastaError: Missing, empty, or not FASTA as far as it was read; a file that is read to its
            end also when truncated or damaged.
    """
    text, at_end = _head(path, num_letters, shown)
    with tempfile.TemporaryDirectory(prefix="genomeformer-") as folder:
        head = Path(folder) / "head.fa"
        head.write_bytes(text)
        found: list[Record] = []
        wanted = num_letters
        for record in read_records(head, shown=shown):
            if wanted <= 0:
                return Peek(records=tuple(found), whole=False, last_is_whole=True)
            if len(record.sequence) > wanted:
                found.append(replace(record, sequence=record.sequence[:wanted]))
                return Peek(records=tuple(found), whole=False, last_is_whole=False)
            found.append(record)
            wanted -= max(len(record.sequence), 1)
    return Peek(records=tuple(found), whole=at_end, last_is_whole=at_end)


def _head(path: Path, num_letters: int, shown: str) -> tuple[bytes, bool]:
    """Text that surely holds so many letters or is all there is, and whether it is all."""
    chunks = TextReader(path, shown).chunks()
    text = next(chunks, b"")
    refuse_other_formats(text, shown)
    is_fasta = text.lstrip()[:1] == b">"
    for chunk in chunks:
        whole = _whole_lines(text, is_fasta=is_fasta)
        if _num_letters(whole, is_fasta=is_fasta) > num_letters:
            return whole, False
        text += chunk
    return text, True


def _whole_lines(text: bytes, *, is_fasta: bool) -> bytes:
    """What of some text can be read by itself: no header is cut, no FASTQ record either."""
    lines = text.splitlines(keepends=True)
    if is_fasta:
        return text if lines[-1][:1] != b">" else b"".join(lines[:-1])
    lines = [line for line in lines if line.strip()]
    kept = len(lines) - 1
    return b"".join(lines[: kept - kept % 4])


def _num_letters(text: bytes, *, is_fasta: bool) -> int:
    return sum(_letters_of_lines(text.splitlines(), is_fasta=is_fasta))


def _letters_of_lines(lines: list[bytes], *, is_fasta: bool) -> Iterator[int]:
    if not is_fasta:
        yield from (len(line) for line in lines[1::4])
        return
    # A header counts as the letter that its record, if empty, is counted for.
    yield from (1 if line[:1] == b">" else len(line.strip()) for line in lines)
