"""Addition of INFO fields to a VCF file; all other bytes of its rows are kept.

Rows that end before INFO get `.` for what is missing, and a file without a header gets one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.packing import PackedFile

_FIXED = (b"#CHROM", b"POS", b"ID", b"REF", b"ALT", b"QUAL", b"FILTER", b"INFO")
_INFO = _FIXED.index(b"INFO")
_VERSION = b"##fileformat=VCFv4.2"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True)
class InfoField:
    """Declaration of an INFO field."""

    id: str  # Key.
    number: str  # Number of values: `A` for one per alternative allele, `.` for any.
    type: str  # `Float` or `String`.
    description: str  # Meaning.

    def header(self) -> bytes:
        """Return the header line without its end."""
        text = self.description.replace("\\", "\\\\").replace('"', '\\"')
        return (
            f'##INFO=<ID={self.id},Number={self.number},Type={self.type},Description="{text}">'
        ).encode()


def annotate_lines(
    path: Path, display_name: str, fields: Sequence[InfoField], values: Mapping[int, str]
) -> Iterator[bytes]:
    """Yield the lines of a VCF file with more INFO.

    Args:
        path: VCF file that `read_variants` accepted, of any packing.
        display_name: Name of the file in errors.
        fields: Declarations of the added fields.
        values: `KEY=VALUE;...` of each row, by line number.

    Raises:
        InputError: The file has one of the fields, or blanks separate the columns of a row.
    """
    name = display_name
    declarations = [field.header() for field in fields]
    is_declared = False
    for number, line in enumerate(_raw_lines(path, name), start=1):
        text = line.rstrip(b"\r\n")
        end = line[len(text) :]
        content = text.removeprefix(_BOM)
        if number == 1 and not content.startswith(b"##fileformat"):
            yield _VERSION + (end or b"\n")
        if content.startswith(b"##"):
            _refuse_field(content, fields, name)
        elif not is_declared and content.strip():
            is_declared = True
            yield from (declaration + (end or b"\n") for declaration in declarations)
            if not content.startswith(b"#"):
                yield _column_names(content.count(b"\t") + 1) + (end or b"\n")
            else:
                text = _complete(text)
        if values.get(number):
            text = _with_info(text, values[number].encode(), fields, f"`{name}`, line {number}")
        yield text + end


def _raw_lines(path: Path, display_name: str) -> Iterator[bytes]:
    """Yield the lines of a file with their ends, decompressed and otherwise unchanged."""
    buffer = b""
    for chunk in PackedFile(path, display_name=display_name).chunks():
        *lines, buffer = (buffer + chunk).split(b"\n")
        yield from (line + b"\n" for line in lines)
    if buffer:
        yield buffer


def _column_names(num_columns: int) -> bytes:
    """Return the line of column names of a file without one."""
    samples = max(num_columns - len(_FIXED) - 1, 0)
    names = [*_FIXED, *([b"FORMAT"] if num_columns > len(_FIXED) else [])]
    return b"\t".join((*names, *(f"sample_{row + 1}".encode() for row in range(samples))))


def _complete(text: bytes) -> bytes:
    """Append the names of the columns up to INFO that a line of column names lacks."""
    cells = text.split(b"\t") if b"\t" in text else text.split()
    return text if len(cells) > _INFO else b"\t".join((*cells, *_FIXED[len(cells) :]))


def _with_info(text: bytes, value: bytes, fields: Sequence[InfoField], where: str) -> bytes:
    cells = text.split(b"\t")
    if len(cells) == 1:
        raise InputError(
            f"{where}: blanks separate the columns, and VCF output keeps rows as they are",
            hint="separate the columns by tabs, or write a table: `-o scores.tsv`",
        )
    cells += [b"."] * (_INFO + 1 - len(cells))
    info = cells[_INFO]
    keys = {entry.partition(b"=")[0] for entry in info.split(b";")}
    for field in fields:
        if field.id.encode() in keys:
            raise _duplicate_field(field.id, where)
    is_empty = info.strip() in (b"", b".")
    cells[_INFO] = value if is_empty else info.removesuffix(b";") + b";" + value
    return b"\t".join(cells)


def _refuse_field(text: bytes, fields: Sequence[InfoField], name: str) -> None:
    for field in fields:
        if text.startswith(f"##INFO=<ID={field.id},".encode()):
            raise _duplicate_field(field.id, f"`{name}`")


def _duplicate_field(key: str, where: str) -> InputError:
    return InputError(
        f"{where} has the INFO field `{key}` already",
        hint=f"remove it first, as in `bcftools annotate -x INFO/{key} FILE`, or write a table: "
        "`-o scores.tsv`",
    )
