"""Genes of BacBench: parquet files with one genome per row and lists of genes.

| columns                                                  | task                             |
|----------------------------------------------------------|----------------------------------|
| `genome_name`, `dna_seq`, genes, `essential`             | a class per gene                 |
| `strain_name`, `dna_sequence`, genes, `operon_prot_indices` | a class per pair of neighbours |

Genes are `start`, `end`, `strand` and `protein_id` or `locus_tag`.
Positions are 1-based and inclusive. Contigs are a list or words of one text; their genes are lists
of lists. A gene has the 128 bases before its start, on its strand. Two neighbours on one strand are
of class 1 if both are within one operon. Their sequence reaches from the first base to the last.
Genes of one genome are a group. Operons are also read as chains of genes, for `gene_chains`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from genomeformer_cli.core.errors import FormatError
from genomeformer_cli.core.evaluation.task_source import GeneChain, concatenate
from genomeformer_cli.core.formats.labelled import Example, LabelledFile, RowCount
from genomeformer_cli.core.formats.parquet import parquet_records
from genomeformer_cli.core.sequence import reverse_complement

UPSTREAM = 128
_DNA = ("dna_seq", "dna_sequence", "sequence")
_GENOME = ("genome_name", "strain_name", "taxid")
_ESSENTIAL = "essential"
_OPERONS = ("operon_prot_indices", "operon_protein_indices")
_NAMES = ("protein_id", "locus_tag", "contig_name")
_COLUMNS = (*_DNA, *_GENOME, *_NAMES, *_OPERONS, "start", "end", "strand", _ESSENTIAL)
_OUTSIDE = "outside of its contig"
_OPPOSITE = "of neighbours on opposite strands"


@dataclass(frozen=True, kw_only=True)
class _Contig:
    """Contig with its genes."""

    genome: str
    dna: str
    start: Sequence[int]
    end: Sequence[int]
    strand: Sequence[bool | None]  # True: the reverse strand; None: unknown.
    names: Sequence[str]
    essential: Sequence[Any]
    operons: Sequence[Sequence[int]]

    def has_gene(self, gene: int) -> bool:
        """Return True for positions within the contig."""
        return 1 <= self.start[gene] <= self.end[gene] <= len(self.dna)


def gene_reader(
    files: Sequence[tuple[str, Path]], columns: set[str]
) -> Callable[[], LabelledFile] | None:
    """Return the reader of genes for files of these columns; None if they have no labelled genes.

    Args:
        files: Splits and paths.
        columns: Columns of the first file.
    """
    if not ({"start", "end"} <= columns and columns & set(_DNA)):
        return None
    if _ESSENTIAL in columns:
        return partial(_read, files, _genes)
    return partial(_read, files, _pairs) if columns & set(_OPERONS) else None


def chain_reader(
    files: Sequence[tuple[str, Path]], columns: set[str]
) -> Callable[[], tuple[GeneChain, ...]] | None:
    """Return the reader of chains of genes for files with operons; None for other columns."""
    return partial(_chains, files) if columns & set(_OPERONS) else None


def _chains(files: Sequence[tuple[str, Path]]) -> tuple[GeneChain, ...]:
    return tuple(_chain(contig) for contig, _ in _all_contigs(files))


def _chain(contig: _Contig) -> GeneChain:
    numbers = range(len(contig.names))
    within = _within_operons(contig)
    pairs = tuple(itertools.pairwise(numbers))
    return GeneChain(
        genome=contig.genome,
        letters=tuple(_gene(contig, gene) if contig.has_gene(gene) else "" for gene in numbers),
        strands=tuple(contig.strand),
        gaps=tuple(contig.start[second] - 1 - contig.end[first] for first, second in pairs),
        is_operon=tuple(first in within for first, _ in pairs),
    )


def _all_contigs(files: Sequence[tuple[str, Path]]) -> Iterator[tuple[_Contig, str]]:
    for split, path in files:
        records = parquet_records(path, _COLUMNS, str(path))
        for number, record in enumerate(records, start=1):
            for contig in _contigs(record, f"`{path}`, row {number}"):
                yield contig, split


def _read(
    files: Sequence[tuple[str, Path]], rows: Callable[[_Contig, str], LabelledFile]
) -> LabelledFile:
    return concatenate([rows(contig, split) for contig, split in _all_contigs(files)])


def _contigs(record: dict[str, Any], where: str) -> Iterator[_Contig]:
    dna = next((record[name] for name in _DNA if record.get(name)), "")
    contigs = dna.split() if isinstance(dna, str) else list(dna)
    genome = next((str(record[name]) for name in _GENOME if record.get(name) is not None), where)
    starts = record.get("start") or []
    nested = bool(starts) and isinstance(starts[0], list)
    if not nested and len(contigs) > 1:
        raise FormatError(
            f"{where}: {len(contigs)} contigs, and one list of genes",
            hint="genes of several contigs are a list per contig",
        )

    def column(name: str) -> list[Any]:
        values = record.get(name)
        return [] if values is None else values if nested else [values]

    operons = next((column(name) for name in _OPERONS if record.get(name) is not None), [])
    names = next((column(name) for name in _NAMES if _is_list(record.get(name), nested)), [])
    columns = (contigs, column("start"), column("end"))
    if len({len(values) for values in columns}) > 1:
        raise FormatError(
            f"{where}: {len(contigs)} contigs, and genes of {len(columns[1])}",
            hint="each contig needs its lists of `start` and `end`",
        )
    for number, (letters, start, end) in enumerate(zip(*columns, strict=True)):
        strand = _of_contig(column("strand"), number) or [None] * len(start)
        essential = _of_contig(column(_ESSENTIAL), number) or [None] * len(start)
        labels = _of_contig(names, number) or [str(gene + 1) for gene in range(len(start))]
        if len({len(values) for values in (start, end, strand, essential, labels)}) > 1:
            raise FormatError(
                f"{where}, contig {number + 1}: the lists of its genes differ in length",
                hint="download the file again",
            )
        yield _Contig(
            genome=genome,
            dna=letters,
            start=[_position(value, where) for value in start],
            end=[_position(value, where) for value in end],
            strand=[_is_reverse(value, where) for value in strand],
            names=[str(label) for label in labels],
            essential=essential,
            operons=_of_contig(operons, number),
        )


def _is_list(values: Any, nested: bool) -> bool:  # noqa: FBT001 - a fact of the row
    """Return True for a list per gene, and not per contig."""
    if not isinstance(values, list) or not values:
        return False
    return isinstance(values[0], list) if nested else True


def _of_contig(values: Sequence[Any], number: int) -> list[Any]:
    return list(values[number]) if number < len(values) and values[number] is not None else []


def _position(value: Any, where: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise FormatError(
            f"{where}: `{value}` is not a position", hint="download the file again"
        ) from None


def _is_reverse(value: Any, where: str) -> bool | None:
    if value is None:
        return None
    strands = {"+": False, "-": True, "1": False, "-1": True, "1.0": False, "-1.0": True}
    if str(value) not in strands:
        raise FormatError(
            f"{where}: `{value}` is not a strand", hint="a strand is 1, -1, `+` or `-`"
        )
    return strands[str(value)]


def _gene(contig: _Contig, gene: int) -> str:
    """Return a gene with the bases before it; one of unknown strand has those on both sides."""
    reverse = contig.strand[gene]
    before = 0 if reverse else UPSTREAM
    after = UPSTREAM if reverse or reverse is None else 0
    letters = contig.dna[max(0, contig.start[gene] - 1 - before) : contig.end[gene] + after]
    return reverse_complement(letters) if reverse else letters


def _within_operons(contig: _Contig) -> set[int]:
    """Return the genes whose next neighbour is of the same operon."""
    return {gene for operon in contig.operons if operon for gene in range(min(operon), max(operon))}


def _genes(contig: _Contig, split: str) -> LabelledFile:
    """Return one row per gene."""
    examples = []
    for gene, name in enumerate(contig.names):
        if not contig.has_gene(gene):
            continue
        label = contig.essential[gene]
        examples.append(
            Example(
                f"{contig.genome}:{name}",
                _gene(contig, gene),
                "" if label is None else str(label),
                split,
                contig.genome,
                gene + 1,
            )
        )
    count = RowCount(read=len(contig.names), used=len(contig.names))
    return LabelledFile(
        examples=tuple(examples),
        count=count.without(_OUTSIDE, len(contig.names) - len(examples)),
    )


def _pairs(contig: _Contig, split: str) -> LabelledFile:
    """Return one row per two neighbouring genes on one strand."""
    within = _within_operons(contig)
    examples = []
    num_outside = num_opposite = 0
    for first, second in itertools.pairwise(range(len(contig.names))):
        if not (contig.has_gene(first) and contig.has_gene(second)):
            num_outside += 1
            continue
        if contig.strand[first] != contig.strand[second]:
            num_opposite += 1
            continue
        start = min(contig.start[first], contig.start[second]) - 1
        letters = contig.dna[start : max(contig.end[first], contig.end[second])]
        examples.append(
            Example(
                f"{contig.genome}:{contig.names[first]}-{contig.names[second]}",
                reverse_complement(letters) if contig.strand[first] else letters,
                str(int(first in within)),
                split,
                contig.genome,
                first + 1,
            )
        )
    num_pairs = max(0, len(contig.names) - 1)
    count = RowCount(read=num_pairs, used=num_pairs)
    return LabelledFile(
        examples=tuple(examples),
        count=count.without(_OUTSIDE, num_outside).without(_OPPOSITE, num_opposite),
    )
