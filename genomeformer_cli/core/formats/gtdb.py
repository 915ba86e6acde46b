"""Files of the Genome Taxonomy Database (GTDB): the genomes of a release and their lineages.

| file                          | columns                                                  |
|-------------------------------|----------------------------------------------------------|
| `bac120_metadata.tsv.gz`      | `accession`, `gtdb_representative`, `gtdb_taxonomy`, ... |
| `bac120_taxonomy.tsv.gz`      | accession and taxonomy, without a header                 |

The second does not mark the representatives of species. Source: https://gtdb.ecogenomic.org.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.text import read_lines

_COLUMNS = ("accession", "gtdb_representative", "gtdb_taxonomy")


@dataclass(frozen=True, kw_only=True)
class GtdbRow:
    """Genome of a release."""

    accession: str  # As written, e.g. `RS_GCF_000005845.2`.
    lineage: tuple[str, ...]  # Taxa from the domain to the species.
    is_representative: bool | None  # True for that of its species; None: unknown.


def read_gtdb(path: Path) -> Iterator[GtdbRow]:
    """Yield the rows of a file of either layout.

    Raises:
        InputError: The layout is neither.
        FormatError: The file is missing, truncated or damaged.
    """
    columns: list[int] | None = None
    for number, (line, text) in enumerate(read_lines(path)):
        cells = text.split("\t")
        if not number and "accession" in cells:
            missing = [name for name in _COLUMNS if name not in cells]
            if missing:
                raise _layout_error(path, line, f"column `{missing[0]}` is missing")
            columns = [cells.index(name) for name in _COLUMNS]
            continue
        if not text.strip():
            continue
        if columns is None:
            if len(cells) != 2:
                raise _layout_error(path, line, f"{len(cells)} columns, not 2")
            accession, mark, lineage = cells[0], None, cells[1]
        elif len(cells) <= max(columns):
            raise _layout_error(path, line, f"{len(cells)} columns, fewer than in the header")
        else:
            accession, mark, lineage = (cells[column] for column in columns)
        if not lineage.startswith("d__"):
            raise _layout_error(path, line, f"`{lineage[:40]}` is not a taxonomy of GTDB")
        yield GtdbRow(
            accession=accession,
            lineage=tuple(part.strip() for part in lineage.split(";")),
            is_representative=None if mark is None else mark == "t",
        )


def _layout_error(path: Path, line: int, reason: str) -> InputError:
    return InputError(
        f"`{path}`, line {line}: {reason}",
        hint="give a metadata or taxonomy file of a GTDB release, such as `bac120_metadata.tsv.gz`",
    )
