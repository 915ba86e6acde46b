"""VCF: one variant per alternative allele, in file order.

Only the first five columns are read; other columns may be invalid UTF-8. A row that cannot be split
into columns, or whose position is not a whole number, is an error with its line. An allele without
a sequence is kept as a variant whose `problem` is the reason.

A reason is `category` or `category: detail`; reports count rows by category.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.text import read_lines, require_text
from genomeformer_cli.core.sequence import are_bases

_POSITION = re.compile(r"[0-9]{1,15}")
_NUM_COLUMNS = 5
_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Alternative allele of a VCF row, as written."""

    chromosome: str  # Record of the genome.
    position: int  # First base of `ref`, 1-based.
    id: str  # ID of the row.
    ref: str  # Reference allele.
    alt: str  # Alternative allele.
    line: int = 0  # Line of the file; 0 for a variant without a file.
    problem: str = ""  # Reason that the alleles are not sequences; empty if they are.


def read_variants(path: Path, *, display_name: str | None = None) -> Iterator[Variant]:
    """Yield every alternative allele of a VCF file, in order.

    Args:
        path: VCF file, plain or compressed.
        display_name: Name of the file in errors; the path by default.

    Raises:
        InputError: The file cannot be read, or a row is invalid.
    """
    for number, line in read_lines(path, display_name=display_name):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        chromosome, position, identifier, ref, alts = row_columns(
            line, f"`{display_name or path}`, line {number}"
        )
        for alt in alts.split(","):
            yield Variant(
                chromosome=chromosome,
                position=int(position),
                id=identifier,
                ref=ref,
                alt=alt,
                line=number,
                problem=allele_problem(int(position), ref, alt),
            )


def is_vcf(path: Path, *, display_name: str | None = None) -> bool:
    """Return True if the first line names the format, as VCF requires.

    Raises:
        FormatError: The file cannot be read, or is not text.
    """
    first = next(read_lines(path, display_name=display_name), None)
    return first is not None and first[1].startswith("##fileformat=VCF")


def row_columns(line: str, where: str) -> list[str]:
    """Return CHROM POS ID REF ALT of a row; blanks separate columns in a row without tabs.

    Raises:
        InputError: The row has fewer columns.
    """
    cells = [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()
    if len(cells) < _NUM_COLUMNS:
        blanks = "\t" in line and len(line.split()) >= _NUM_COLUMNS
        description = "tabs and blanks mixed" if blanks else f"{len(cells)} of 5 columns"
        raise InputError(
            f"{where}: not a VCF row, {description}",
            hint="a row is CHROM, POS, ID, REF, ALT and more, separated by tabs",
        )
    if not cells[0] or not _POSITION.fullmatch(cells[1]):
        raise InputError(
            f"{where}: not a VCF row, invalid position `{cells[1][:_SHOWN]}`"
            if cells[0]
            else f"{where}: not a VCF row, CHROM is empty",
            hint="POS is a whole number counted from 1, without commas, points or exponents",
        )
    require_text(cells[0], f"{where}, column CHROM")
    return cells[:_NUM_COLUMNS]


def allele_problem(position: int, ref: str, alt: str) -> str:
    """Return the reason that alleles are not sequences; empty if they are."""
    if position == 0:
        return "telomere: position 0 is before the first base"
    if alt in ("", "."):
        return "no alternative allele"
    if alt == "*":
        return "spanning deletion: `*` marks a base that another row deletes"
    if "[" in alt or "]" in alt or (len(alt) > 1 and "." in (alt[0], alt[-1])):
        return "breakend: it joins two places and names no sequence"
    if alt.startswith("<"):
        return f"symbolic allele: `{alt[:_SHOWN]}` names no sequence"
    for allele in (ref, alt):
        if not are_bases(allele):
            return f"invalid allele: `{allele[:_SHOWN]}` holds something else than nucleotides"
    return ""
