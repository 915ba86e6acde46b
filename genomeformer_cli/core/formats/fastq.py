"""FASTQ reader: four lines per record, or wrapped sequences and qualities."""

from __future__ import annotations

from collections.abc import Iterator

from genomeformer_cli.core.errors import FastaError

_QUALITIES = bytes(range(33, 127))


def fastq_records(lines: Iterator[bytes], display_name: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the header, without `@`, and the letters of every record.

    Args:
        lines: Lines without line ends.
        display_name: Name of the file in errors.

    Raises:
        FastaError: A record is damaged or truncated.
    """
    for header in lines:
        if not header.strip():
            continue
        if header[:4] in (b"@HD\t", b"@SQ\t", b"@RG\t", b"@PG\t"):
            raise FastaError(
                f"`{display_name}` is a SAM file, not FASTQ",
                hint="convert it, as in `samtools fastq`",
            )
        if header[:1] != b"@":
            raise _damaged_error(header, display_name)
        letters: list[bytes] = []
        plus = b""
        for line in lines:
            if line[:1] == b"+":
                plus = line
                break
            letters.append(line.strip())
        if not plus:
            raise _damaged_error(header, display_name)
        sequence = b"".join(letters)
        _skip_qualities(lines, len(sequence), header, display_name, wrapped=len(letters) > 1)
        yield header[1:], sequence


def _skip_qualities(
    lines: Iterator[bytes], size: int, header: bytes, display_name: str, *, wrapped: bool
) -> None:
    """Read one quality per letter; on one line unless the letters are wrapped."""
    num_left = size
    while num_left:
        line = next(lines, None)
        if line is None:
            raise _damaged_error(header, display_name)
        qualities = line.strip()
        num_left -= len(qualities)
        if qualities.translate(None, _QUALITIES) or num_left < 0 or (num_left and not wrapped):
            raise _damaged_error(header, display_name)


def _damaged_error(header: bytes, display_name: str) -> FastaError:
    name = header[:40].decode("utf-8", errors="replace")
    return FastaError(
        f"`{display_name}` is damaged or truncated FASTQ at `{name}`",
        hint="a record is `@id`, letters, `+`, and as many qualities as letters",
    )
