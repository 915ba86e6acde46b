"""Selection of assemblies: filters, RefSeq/GenBank twins, the best of each taxon.

A single ranking is used everywhere: reference genome, assembly level, type material, CheckM
(completeness minus five times contamination), release date, accession. A catalogue therefore always
gives the same selection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, TypeVar

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.genomes.ncbi.assembly import Assembly, Level, version_of
from genomeformer_cli.core.genomes.ncbi.paths import SUFFIXES

Word = TypeVar("Word", bound=str)
Source = Literal["refseq", "genbank", "both"]
Mag = Literal["include", "exclude", "only"]
SOURCES: tuple[Source, ...] = ("refseq", "genbank", "both")
MAGS: tuple[Mag, ...] = ("include", "exclude", "only")
RANKS = ("taxid", "species", "genus", "family", "order", "class", "phylum")
_NO_CHECKM = -1e9


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """Filters on assemblies."""

    source: Source = "refseq"  # Database; `both` keeps one of each pair, the RefSeq one.
    levels: tuple[Level, ...] = ()  # Allowed levels; all if empty.
    reference: bool = False  # Reference genomes only.
    mag: Mag = "include"  # Metagenome-assembled genomes: included, excluded, or only these.
    type_material: bool = False  # Type material only.
    released_after: str | None = None  # First release date, YYYY-MM-DD.
    released_before: str | None = None  # Last release date, YYYY-MM-DD.
    min_length: int | None = None  # Minimum number of bases.
    max_contigs: int | None = None  # Maximum number of contigs.
    # Minimum CheckM completeness in percent; an unknown value is excluded.
    min_completeness: float | None = None
    # Maximum CheckM contamination in percent; an unknown value is excluded.
    max_contamination: float | None = None
    exclude_atypical: bool = True  # Exclude assemblies that NCBI marks as atypical.

    @property
    def needs_checkm(self) -> bool:
        """True if a filter uses CheckM values."""
        return self.min_completeness is not None or self.max_contamination is not None

    def reason_against(self, assembly: Assembly) -> str | None:
        """Return the option of the first filter that excludes the assembly, or None."""
        return next((name for name, passes in _FILTERS if not passes(self, assembly)), None)


@dataclass(frozen=True, kw_only=True)
class TopPer:
    """Number of assemblies to keep in each taxon of a rank."""

    rank: str
    number: int


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Selected assemblies, best first, and the number excluded by each filter."""

    assemblies: tuple[Assembly, ...]
    excluded: dict[str, int] = field(default_factory=dict)


_Filter = Callable[[Criteria, Assembly], bool]

_FILTERS: tuple[tuple[str, _Filter], ...] = (
    ("status", lambda c, a: a.status == "current"),
    ("--source", lambda c, a: c.source == "both" or a.is_refseq == (c.source == "refseq")),
    ("--level", lambda c, a: not c.levels or a.level in c.levels),
    ("--reference", lambda c, a: a.is_reference or not c.reference),
    ("filter.mag", lambda c, a: c.mag == "include" or a.is_mag == (c.mag == "only")),
    ("filter.type_material", lambda c, a: a.is_type or not c.type_material),
    ("filter.released_after", lambda c, a: not c.released_after or a.released >= c.released_after),
    (
        "filter.released_before",
        lambda c, a: not c.released_before or a.released <= c.released_before,
    ),
    ("filter.min_length", lambda c, a: a.num_bases >= (c.min_length or 0)),
    (
        "filter.max_contigs",
        lambda c, a: c.max_contigs is None or _at_most(a.num_contigs, c.max_contigs),
    ),
    (
        "filter.min_completeness",
        lambda c, a: c.min_completeness is None or (a.completeness or 0.0) >= c.min_completeness,
    ),
    (
        "filter.max_contamination",
        lambda c, a: c.max_contamination is None or _at_most(a.contamination, c.max_contamination),
    ),
    ("filter.exclude_atypical", lambda c, a: not (c.exclude_atypical and a.is_atypical)),
)


def _at_most(value: float | None, limit: float) -> bool:
    return value is not None and value <= limit


def parse_top_per(text: str) -> TopPer:
    """Parse `species:1`.

    Raises:
        UsageError: The rank or the number is invalid.
    """
    rank, _, number = text.partition(":")
    if rank not in RANKS or not number.isdigit() or int(number) < 1:
        raise UsageError(
            f"invalid `--top-per {text}`: expected RANK:NUMBER",
            hint="as in `species:1`; ranks are " + ", ".join(f"`{name}`" for name in RANKS),
        )
    return TopPer(rank=rank, number=int(number))


def parse_word(text: str, allowed: tuple[Word, ...], option: str) -> Word:
    """Check a choice of an option.

    Raises:
        UsageError: The text is not an allowed value.
    """
    for word in allowed:
        if word == text:
            return word
    raise UsageError(
        f"invalid `{option} {text}`", hint="choose " + ", ".join(f"`{word}`" for word in allowed)
    )


def parse_formats(text: str) -> tuple[str, ...]:
    """Parse `fasta,gff`; `fasta` is always included.

    Raises:
        UsageError: A format is unknown.
    """
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    for word in words:
        parse_word(word, tuple(SUFFIXES), "--format")
    return tuple(kind for kind in SUFFIXES if kind == "fasta" or kind in words)


def parse_levels(text: str) -> tuple[Level, ...]:
    """Parse `complete,chromosome`.

    Raises:
        UsageError: A level is unknown.
    """
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in list(Level)]
    if unknown:
        raise UsageError(
            f"invalid assembly level `{unknown[0]}`",
            hint="levels are " + ", ".join(f"`{level}`" for level in Level),
        )
    return tuple(dict.fromkeys(Level(word) for word in words))


def parse_date(text: str | None) -> str | None:
    """Parse a date, YYYY-MM-DD.

    Raises:
        UsageError: The date is invalid.
    """
    if text is None:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise UsageError(f"invalid date `{text}`", hint="write it as `2024-01-31`") from None


def best_first(assembly: Assembly) -> tuple[int, int, int, float, int, str]:
    """Return the sort key of an assembly; smaller is better."""
    day = int(assembly.released.replace("-", "") or 0) if _is_date(assembly.released) else 0
    quality = (
        _NO_CHECKM
        if assembly.completeness is None
        else assembly.completeness - 5 * (assembly.contamination or 0.0)
    )
    return (
        0 if assembly.is_reference else 1,
        Level(assembly.level).rank,
        0 if assembly.is_type else 1,
        -quality,
        -day,
        assembly.accession,
    )


def _is_date(text: str) -> bool:
    return len(text) == 10 and text.replace("-", "").isdigit()


def drop_twins(assemblies: Iterable[Assembly]) -> list[Assembly]:
    """Keep the RefSeq one of each RefSeq/GenBank pair, and the last version of each assembly."""
    latest: dict[str, Assembly] = {}
    for assembly in assemblies:
        previous = latest.get(assembly.base)
        if previous is None or version_of(assembly.accession) > version_of(previous.accession):
            latest[assembly.base] = assembly
    return [a for a in latest.values() if a.is_refseq or _base(a.paired) not in latest]


def _base(accession: str | None) -> str:
    return (accession or "").partition(".")[0]


def select(
    assemblies: Iterable[Assembly],
    criteria: Criteria,
    *,
    excluded_accessions: frozenset[str] = frozenset(),
) -> Selection:
    """Filter, drop twins, rank.

    Args:
        assemblies: Assemblies of the catalogue.
        criteria: Filters.
        excluded_accessions: Accessions of excluded taxa.
    """
    excluded_by: Counter[str] = Counter()
    matching = []
    for assembly in assemblies:
        reason = criteria.reason_against(assembly)
        if reason is None and assembly.accession in excluded_accessions:
            reason = "--exclude-taxon"
        if reason is None:
            matching.append(assembly)
        else:
            excluded_by[reason] += 1
    ranked = sorted(drop_twins(matching), key=best_first)
    if len(matching) > len(ranked):
        excluded_by["twin or older version"] += len(matching) - len(ranked)
    return Selection(assemblies=tuple(ranked), excluded=dict(excluded_by))


def keep_best(
    selection: Selection, top: TopPer, taxon_at: Callable[[Assembly, str], int | None]
) -> Selection:
    """Keep the best of each taxon; an assembly without that rank is its own taxon."""
    num_kept: Counter[int] = Counter()
    best = []
    for assembly in selection.assemblies:
        taxon = taxon_at(assembly, top.rank)
        taxon = assembly.taxid if taxon is None else taxon
        if num_kept[taxon] < top.number:
            num_kept[taxon] += 1
            best.append(assembly)
    return _cut(selection, best, "--top-per")


def keep_first(selection: Selection, limit: int) -> Selection:
    """Keep the best `limit` assemblies."""
    return _cut(selection, list(selection.assemblies[:limit]), "--limit")


def _cut(selection: Selection, remaining: list[Assembly], option: str) -> Selection:
    num_excluded = len(selection.assemblies) - len(remaining)
    excluded = {**selection.excluded, option: num_excluded} if num_excluded else selection.excluded
    return Selection(assemblies=tuple(remaining), excluded=excluded)
