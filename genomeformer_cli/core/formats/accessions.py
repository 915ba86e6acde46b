"""Lists of assembly accessions, as people keep them: every word of the list is read or refused.

| written as                                  | read as                                       |
|---------------------------------------------|-----------------------------------------------|
| one per line, or several by blanks, commas, | each of them                                  |
| semicolons                                  |                                               |
| `RS_GCF_...`, `GB_GCA_...` (GTDB)           | without the prefix                            |
| `gcf_000005845.2`                           | in capitals                                   |
| `"GCF_000005845.2"`                         | without the quotation marks                   |
| `GCF_000005845.2_ASM584v2_genomic.fna.gz`   | the accession at its beginning                |
| a table whose first line names a column     | that column alone, of every line              |
| `# ...`                                     | a comment, to the end of the line             |
| anything else                               | an error that names the word and its line     |
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.text import Line, read_lines

_ACCESSION = re.compile(
    r"(?:RS_|GB_)?(?:(GC[AF]_[0-9]{9}\.[0-9]+)_\S+|(GC[AF]_[0-9]{9}(?:\.[0-9]+)?))", re.IGNORECASE
)
_NUCLEOTIDE = re.compile(
    r"(?:[A-Z]{2}_[A-Z]{0,6}[0-9]{5,}|[A-Z]{1,2}[0-9]{5,8}|[A-Z]{4,6}[0-9]{8,11})(?:\.[0-9]+)?"
)
_ADDRESS = re.compile(r"(?:https?|ftp|rsync)://", re.IGNORECASE)
_COLUMNS = ("accession", "assembly accession", "assembly")
_SEPARATORS = re.compile(r"[\s,;]+")
_QUOTES = "\"'`\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"
_MAX_NAMED = 20
_SHOWN = 60


class _Word(NamedTuple):
    line: int
    text: str


def read_accession(word: str) -> str | None:
    """Return the assembly accession in a word, or None."""
    name = word.strip().strip(_QUOTES).strip()
    if _ADDRESS.match(name):
        name = name.rstrip("/").rpartition("/")[2]
    match = _ACCESSION.fullmatch(name)
    return (match[1] or match[2]).upper() if match else None


def is_nucleotide_accession(word: str) -> bool:
    """Return True for a word that looks like the accession of a sequence, as `NC_000913.3`."""
    return _NUCLEOTIDE.fullmatch(word.strip().strip(_QUOTES)) is not None


def read_accession_list(path: Path, *, display_name: str | None = None) -> tuple[str, ...]:
    """Return the accessions of a list in order, without duplicates.

    Args:
        path: List, plain or compressed.
        display_name: Name of the file in errors; the path by default.

    Raises:
        InputError: The list cannot be read, is empty, or has a word that is not an accession.
    """
    name = display_name or str(path)
    accessions: dict[str, None] = {}
    invalid_words: list[_Word] = []
    for word in _words(read_lines(path, display_name=display_name), name):
        accession = read_accession(word.text)
        if accession is None:
            invalid_words.append(word)
        else:
            accessions[accession] = None
    if invalid_words:
        raise _invalid_words_error(invalid_words, name)
    if not accessions:
        raise InputError(f"`{name}` names no accessions", hint="write one per line")
    return tuple(accessions)


def _words(lines: Iterator[Line], name: str) -> Iterator[_Word]:
    """Yield all words outside comments, or the cells of the column named by the header."""
    column: tuple[int, str] | None = None
    is_first = True
    for number, text in lines:
        if is_first and (header := _header(text)) is not None:
            column, is_first = header, False
            continue
        content = text if column is not None else text.partition("#")[0]
        if not content.strip() or content.startswith("#"):
            continue
        is_first = False
        if column is None:
            yield from (_Word(number, word) for word in _SEPARATORS.split(content) if word)
            continue
        index, separator = column
        cells = _cells(content, separator, f"`{name}`, line {number}")
        yield _Word(number, cells[index] if index < len(cells) else "")


def _header(text: str) -> tuple[int, str] | None:
    """Return the index of the accession column and the separator, if the first line is a header."""
    for separator in ("\t", ",", ";"):
        cells = [_column_name(cell) for cell in text.lstrip("#").split(separator)]
        for name in _COLUMNS:
            if name in cells:
                return cells.index(name), separator
    return None


def _column_name(cell: str) -> str:
    return cell.strip().strip(_QUOTES).replace("_", " ").casefold()


def _cells(line: str, separator: str, where: str) -> Sequence[str]:
    if separator == "\t":
        return line.split("\t")
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except (csv.Error, StopIteration) as failure:
        raise InputError(
            f"{where}: invalid row of a CSV file: {failure}", hint="check its quotation marks"
        ) from failure


def _invalid_words_error(invalid_words: Sequence[_Word], name: str) -> InputError:
    listing = ", ".join(
        f"`{word.text[:_SHOWN]}` (line {word.line})" for word in invalid_words[:_MAX_NAMED]
    )
    more = f" and {len(invalid_words) - _MAX_NAMED} more" if len(invalid_words) > _MAX_NAMED else ""
    count = "1 word is" if len(invalid_words) == 1 else f"{len(invalid_words)} words are"
    hint = "write assembly accessions alone, as `GCF_000005845.2`; of a table, the column that"
    hint += " the first line calls `accession` is read, and `#` begins a comment"
    if any(is_nucleotide_accession(word.text) for word in invalid_words):
        hint = "`NC_...` and the like name one sequence: give the assembly that holds it"
    return InputError(f"`{name}`: {count} not an assembly accession: {listing}{more}", hint=hint)
