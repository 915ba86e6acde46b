"""Labelled variants: a table, a parquet file, or a VCF file with a label in INFO.

Columns of published tables are recognised by their names, in any case:

| table                    | columns                                                              |
|--------------------------|----------------------------------------------------------------------|
| TraitGym                 | chrom pos ref alt label consequence tss_dist                         |
| ClinVar, variant summary | Chromosome PositionVCF ReferenceAlleleVCF AlternateAlleleVCF          |
|                          | ClinicalSignificance GeneSymbol Assembly                             |
| ClinVar, VCF             | INFO: CLNSIG MC GENEINFO                                             |
| saturation editing       | chromosome, position (hg19), reference, alt, func.class, consequence |
| MaveDB score set         | hgvs_nt score                                                        |
| BED, as in BEND          | chromosome start end ref alt label                                   |
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.errors import FormatError
from genomeformer_cli.core.formats.labelled import RowCount
from genomeformer_cli.core.formats.parquet import is_parquet, parquet_table
from genomeformer_cli.core.formats.tables import TableRow, TextTable, read_table
from genomeformer_cli.core.formats.text import read_lines
from genomeformer_cli.core.formats.vcf import Variant, allele_problem, row_columns

LABEL = "label"
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "chrom": ("chrom", "#chrom", "chr", "#chr", "chromosome", "seqid"),
    "pos": ("pos", "positionvcf", "position", "position (hg19)", "position (hg38)"),
    "ref": ("ref", "referenceallelevcf", "reference", "ref_allele", "reference_allele"),
    "alt": ("alt", "alternateallelevcf", "alternate", "alternative", "alt_allele"),
    "hgvs": ("hgvs_nt",),
    "label": ("clnsig", "clinicalsignificance", "func.class", "func_class", "class", "score"),
    "consequence": ("consequence", "mc", "molecular_consequence"),
    "distance": ("tss_dist", "tss_distance", "distance"),
    "gene": ("gene", "genesymbol", "geneinfo", "experiment", "exon"),
    "assembly": ("assembly",),
}
_POSITIVE = frozenset(
    (
        *("1", "1.0", "true", "t", "yes", "positive", "pathogenic", "likely pathogenic"),
        *("pathogenic/likely pathogenic", "lof", "loss of function", "deleterious", "damaging"),
        *("causal", "nonfunctional", "non-functional"),
    )
)
_NEGATIVE = frozenset(
    (
        *("0", "0.0", "false", "f", "no", "negative", "benign", "likely benign"),
        *("benign/likely benign", "func", "functional", "neutral", "tolerated", "control"),
    )
)
_MISSING = frozenset(("", "na", "nan", "n/a", "none", "null", ".", "-", "not provided"))
_HGVS = re.compile(r"(?:(?P<record>[^:\s]+):)?(?P<kind>[cgn])\.(?P<pos>\d{1,15})([ACGT])>([ACGT])")
_POSITION = re.compile(r"\d{1,15}(\.0)?")
_MAX_LABELS = 5
_NUM_BLOCKS = 10
_SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class VariantColumns:
    """Columns of a table, or INFO keys, and the classes of its labels."""

    label: str = LABEL  # Column of the labels; `label` also stands for the known names of others.
    group: str | None = None  # Column of the groups; None: the record, a gene, or blocks.
    consequence: str | None = None  # Column of the consequences; None: a known name.
    distance: str | None = None  # Column of the distances to a feature; None: a known name.
    assembly: str | None = None  # Assembly of the used rows, for a table of several.
    positive: frozenset[str] = _POSITIVE  # Labels of the positive class, in lower case.
    negative: frozenset[str] = _NEGATIVE  # Labels of the negative class, in lower case.
    threshold: float | None = None  # Largest score of the positive class, for numbers.


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledVariant:
    """Variant with a label."""

    variant: Variant  # The variant.
    is_positive: bool | None  # Class; None if the labels are numbers without a threshold.
    value: float | None  # Label as a number, if the labels are numbers.
    group: str  # Group of related variants.
    consequence: str  # Consequence; empty if unknown.
    distance: float | None  # Distance to a feature, if known.


@dataclass(frozen=True, kw_only=True)
class VariantTable:
    """Labelled variants of a file."""

    name: str  # Name of the file.
    rows: tuple[LabelledVariant, ...]  # Rows with a label and a single variant, in file order.
    count: RowCount  # Rows read, used and left out; a VCF row counts once per allele.
    label: str  # Column of the labels.
    group: str  # Source of the groups: a column, or `blocks of positions`.


def read_labelled_variants(
    path: Path, columns: VariantColumns, *, display_name: str | None = None, record: str = ""
) -> VariantTable:
    """Read the labelled variants of a file.

    Args:
        path: Table, parquet or VCF file.
        columns: Columns, and classes of the labels.
        display_name: Name in messages; the path by default.
        record: Record of variants that name none, as those of a MaveDB score set.

    Raises:
        FormatError: The file is unreadable, or a column is missing or ambiguous.
        InputError: A row of a VCF file is invalid.
        MissingExtraError: The file is parquet, and `pyarrow` is not installed.
    """
    name = display_name or str(path)
    if is_parquet(path):
        table = parquet_table(path, name)
    elif _is_vcf(path, name):
        table = _vcf_table(path, name)
    else:
        table = read_table(path, display_name=name)
    return _Reader(table, columns, record).read()


def split_labels(text: str) -> frozenset[str]:
    """Return the labels of a text, separated by commas, in lower case."""
    return frozenset(_plain(label) for label in text.split(",") if label.strip())


def _plain(label: str) -> str:
    return label.partition("|")[0].replace("_", " ").strip().casefold()


class _Reader:
    """Reader of the rows of one table."""

    def __init__(self, table: TextTable, columns: VariantColumns, record: str) -> None:
        self._table = table
        self._columns = columns
        self._record = record
        self._left_out: Counter[str] = Counter()
        label = table.find(columns.label)
        if label is None and columns.label == LABEL:
            label = self._find("label")
        self._label = (
            table.index(columns.label, "`--label` names the label") if label is None else label
        )
        self._places = {
            "hgvs": self._find("hgvs"),
            "assembly": self._find("assembly"),
            "consequence": self._column_of("consequence", columns.consequence),
            "distance": self._column_of("distance", columns.distance),
            "group": self._column_of("", columns.group),
        }
        names = ("chrom", "pos", "ref", "alt")
        self._coordinates = [self._find(role) for role in names]
        # BED counts from 0, and names the first base `start`.
        first = table.find("start") if table.find("end") is not None else None
        self._offset = 0
        if self._coordinates[1] is None and first is not None:
            self._coordinates[1], self._offset = first, 1
        if self._places["hgvs"] is None:
            for role, place in zip(names, self._coordinates, strict=True):
                if place is None:
                    table.index(role, f"names of {role} are {', '.join(_ALIASES[role])}")

    def _find(self, role: str) -> int | None:
        places = (self._table.find(name) for name in _ALIASES[role])
        return next((place for place in places if place is not None), None)

    def _column_of(self, role: str, name: str | None) -> int | None:
        if name is not None:
            return self._table.index(name, "`--set variants...` names it")
        return self._find(role) if role else None

    def read(self) -> VariantTable:
        """Return the used rows, with the counts of the others."""
        table = self._table
        self._check_assembly()
        texts = [self._cell(row, self._label) for row in table.rows]
        numbers = _numbers(texts)
        labels = Counter(_plain(text) for text in texts)
        common = {label for label, _ in labels.most_common(_MAX_LABELS)}
        rows = []
        for row, text in zip(table.rows, texts, strict=True):
            variant = self._variant(row)
            label = self._class_of(text, common, is_numeric=numbers is not None)
            if self._has_other_assembly(row):
                self._left_out["other assembly"] += 1
            elif isinstance(label, str) or isinstance(variant, str):
                self._left_out[label if isinstance(label, str) else str(variant)] += 1
            else:
                rows.append((row, variant, label, None if numbers is None else float(text)))
        used = len(rows)
        groups, group_name = self._groups([(row, variant) for row, variant, *_ in rows])
        if table.num_empty:
            self._left_out["empty row"] += table.num_empty
        return VariantTable(
            name=table.display_name,
            rows=tuple(
                LabelledVariant(
                    variant=variant,
                    is_positive=label,
                    value=value,
                    group=group,
                    consequence=_consequence(self._optional(row, "consequence")),
                    distance=_number(self._optional(row, "distance")),
                )
                for (row, variant, label, value), group in zip(rows, groups, strict=True)
            ),
            count=RowCount(
                read=table.num_rows, used=used, left_out=dict(self._left_out.most_common())
            ),
            label=table.columns[self._label],
            group=group_name,
        )

    def _cell(self, row: TableRow, place: int) -> str:
        return row.cells[place] if place < len(row.cells) else ""

    def _optional(self, row: TableRow, role: str) -> str:
        place = self._places[role]
        return "" if place is None else self._cell(row, place)

    def _check_assembly(self) -> None:
        names = {self._optional(row, "assembly") for row in self._table.rows} - {"", "na"}
        if self._columns.assembly is None and len(names) > 1:
            raise FormatError(
                f"`{self._table.display_name}` has rows of several assemblies: "
                f"{', '.join(sorted(names))}",
                hint="name that of the genome, as in `--set variants.assembly=GRCh38`",
            )

    def _has_other_assembly(self, row: TableRow) -> bool:
        assembly = self._columns.assembly
        return assembly is not None and self._optional(row, "assembly") != assembly

    def _class_of(self, text: str, common: set[str], *, is_numeric: bool) -> bool | str | None:
        """Return the class of a label, None for a number without one, or the reason."""
        label = _plain(text)
        if label in _MISSING:
            return "no label"
        if is_numeric:
            threshold = self._columns.threshold
            return None if threshold is None else float(text) <= threshold
        if label in self._columns.positive:
            return True
        if label in self._columns.negative:
            return False
        return f"label `{label[:_SHOWN]}`" if label in common else "another label"

    def _variant(self, row: TableRow) -> Variant | str:
        """Return the variant of a row, or the reason why it has none."""
        if self._places["hgvs"] is not None:
            match = _HGVS.fullmatch(self._optional(row, "hgvs"))
            if match is None:
                return "not a single substitution in `hgvs_nt`"
            record, position = match["record"] or self._record, match["pos"]
            ref, alt = match[4], match[5]
        else:
            record, position, ref, alt = (
                self._cell(row, place or 0) for place in self._coordinates
            )
            if not _POSITION.fullmatch(position):
                return "invalid position"
            position = str(int(position.partition(".")[0]) + self._offset)
        number = int(position.partition(".")[0])
        return Variant(
            chromosome=record,
            position=number,
            id=str(row.number),
            ref=ref,
            alt=alt,
            line=row.line,
            problem=allele_problem(number, ref, alt),
        )

    def _groups(self, rows: Sequence[tuple[TableRow, Variant]]) -> tuple[list[str], str]:
        """Return the group of each row, and the source of the groups."""
        place = self._places["group"]
        if place is not None:
            return [self._cell(row, place) for row, _ in rows], self._table.columns[place]
        records = [variant.chromosome for _, variant in rows]
        if len(set(records)) > 1:
            return records, "record"
        for name in _ALIASES["gene"]:
            gene = self._table.find(name)
            genes = [] if gene is None else [self._cell(row, gene) for row, _ in rows]
            if gene is not None and len(set(genes)) > 1:
                return genes, self._table.columns[gene]
        positions = sorted({variant.position for _, variant in rows})
        rank = {position: number for number, position in enumerate(positions)}
        blocks = [
            str(rank[variant.position] * _NUM_BLOCKS // max(len(positions), 1))
            for _, variant in rows
        ]
        return blocks, "blocks of positions"


def _numbers(texts: Sequence[str]) -> list[float] | None:
    """Return labels as numbers if they are, and more than two; else None."""
    present = [text for text in texts if _plain(text) not in _MISSING]
    values = [_number(text) for text in present]
    if len(set(values)) < 3 or None in values:
        return None
    return [value for value in values if value is not None]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _consequence(text: str) -> str:
    """Return a consequence; the first term of `MC` of ClinVar, without its number."""
    first = text.partition(",")[0]
    return first.rpartition("|")[2] if first.startswith("SO:") else text


def _is_vcf(path: Path, display_name: str) -> bool:
    first = next((line.text for line in read_lines(path, display_name=display_name)), "")
    return first.startswith(("##", "#CHROM\tPOS\tID\tREF\tALT"))


def _vcf_table(path: Path, display_name: str) -> TextTable:
    """Return a VCF file as a table of one row per alternative allele, with its INFO."""
    rows: list[tuple[int, list[str], dict[str, str]]] = []
    for number, line in read_lines(path, display_name=display_name):
        if not line.strip() or line.startswith("#"):
            continue
        place = f"`{display_name}`, line {number}"
        chromosome, position, _, ref, alts = row_columns(line, place)
        cells = line.split("\t")
        info = cells[7] if len(cells) > 7 else ""
        entries = {
            key: value or "true"
            for key, _, value in (entry.partition("=") for entry in info.split(";"))
            if key
        }
        alleles = alts.split(",")
        for allele, alt in enumerate(alleles):
            values = {
                key: value.split(",")[allele]
                if len(alleles) > 1 and value.count(",") == len(alleles) - 1
                else value
                for key, value in entries.items()
            }
            rows.append((number, [chromosome, position, ref, alt], values))
    keys = list(dict.fromkeys(key for *_, values in rows for key in values))
    # INFO keys of a coordinate's name would hide it.
    keys = [key for key in keys if key.casefold() not in ("chrom", "pos", "ref", "alt")]
    return TextTable(
        display_name=display_name,
        separator="\t",
        columns=("chrom", "pos", "ref", "alt", *keys),
        rows=tuple(
            TableRow(number, line, (*cells, *(values.get(key, "") for key in keys)))
            for number, (line, cells, values) in enumerate(rows, start=1)
        ),
        num_empty=0,
    )
