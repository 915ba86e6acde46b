"""Metadata of one assembly, independent of the metadata source.

Datasets reports and assembly summaries differ in spelling: 64-bit integers as strings,
`complete_genome` in a filter and `Complete Genome` in a report, absent keys or `na`. This module
converts both to an `Assembly`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypedDict

from genomeformer_cli.core.documents import convert
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.formats.accessions import is_nucleotide_accession, read_accession

# SQLite stores integers of 64 bits.
_BEYOND_64_BITS = 2**63
_ACCESSION = re.compile(r"(GC[AF])_(\d{9})(?:\.(\d{1,3}))?")
# Words in the summaries' `excluded_from_refseq` for which Datasets calls an assembly atypical.
_ATYPICAL = (
    "abnormal gene to sequence ratio",
    "chimeric",
    "contaminated",
    "genome length too",
    "hybrid",
    "low gene count",
    "low quality sequence",
    "misassembled",
    "mixed culture",
    "sequence duplications",
    "unverified source organism",
)


class Level(StrEnum):
    """Assembly level, best first."""

    COMPLETE = "complete"
    CHROMOSOME = "chromosome"
    SCAFFOLD = "scaffold"
    CONTIG = "contig"

    @property
    def rank(self) -> int:
        """Position among the levels; 0 is the best."""
        return list(Level).index(self)

    @property
    def filter_word(self) -> str:
        """Spelling of the level in a Datasets filter."""
        return "complete_genome" if self is Level.COMPLETE else str(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Assembly:
    """One version of one assembly."""

    accession: str  # Accession with version.
    taxid: int  # Taxid of the sampled organism, often a strain.
    organism: str  # Scientific name of the organism.
    name: str  # Assembly name, part of the file names.
    level: str  # Assembly level.
    status: str = "current"  # `current`, `previous`, `suppressed` or `retired`.
    released: str = ""  # Release date, YYYY-MM-DD.
    num_bases: int = 0  # Total sequence length.
    num_contigs: int | None = None  # Number of contigs, if known.
    completeness: float | None = None  # CheckM completeness in percent, if known.
    contamination: float | None = None  # CheckM contamination in percent, if known.
    is_reference: bool = False  # True for the reference genome of the species.
    is_type: bool = False  # True for type material.
    is_atypical: bool = False  # True for an assembly that NCBI marks as atypical.
    is_mag: bool = False  # True for a metagenome-assembled genome.
    paired: str | None = None  # Accession of the RefSeq or GenBank twin.
    current: str | None = None  # Accession of the current version, if this one is superseded.
    species: int | None = None  # Taxid of the species, if known.
    directory: str | None = None  # Address of the directory with the files, if known.

    @property
    def is_refseq(self) -> bool:
        """True for RefSeq, False for GenBank."""
        return self.accession.startswith("GCF_")

    @property
    def base(self) -> str:
        """Accession without the version."""
        return self.accession.partition(".")[0]


def version_of(accession: str) -> int:
    """Return the version of an accession, 0 without one."""
    version = accession.partition(".")[2]
    return int(version) if version.isdigit() else 0


def check_accession(text: str) -> str:
    """Return an assembly accession in NCBI's spelling.

    Raises:
        UsageError: The text is not an assembly accession.
    """
    accession = read_accession(text)
    if accession is not None:
        return accession
    if is_nucleotide_accession(text):
        raise UsageError(
            f"`{text.strip()}` is the accession of one sequence, not of an assembly",
            hint="give the assembly that holds it, as `GCF_000005845.2`",
        )
    raise UsageError(
        f"`{text.strip()}` is not an assembly accession",
        hint="an example is `GCF_000005845.2` or `GCA_000005845`",
    )


def read_level(word: str) -> Level:
    """Parse a level in any spelling (`Complete Genome`, `complete_genome`, `Contig`)."""
    first = word.strip().lower().replace("_", " ").split(" ")[0]
    return Level(first) if first in list(Level) else Level.CONTIG


def read_integer(value: object) -> int | None:
    """Return a number of at most 64 bits; None for anything else."""
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if abs(number) < _BEYOND_64_BITS else None


def _float(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


class _Notes(TypedDict, total=False):
    genome_notes: list[str] | None
    atypical: dict[str, Any] | None
    paired_assembly: dict[str, Any] | None
    assembly_name: Any
    assembly_level: Any
    assembly_status: Any
    release_date: Any
    refseq_category: Any


class _Report(TypedDict, total=False):
    accession: str
    assembly_info: _Notes | None
    assembly_stats: dict[str, Any] | None
    organism: dict[str, Any] | None
    checkm_info: dict[str, Any] | None
    current_accession: str | None
    paired_accession: str | None
    type_material: Any


def from_report(report: Mapping[str, Any], *, is_mag: bool | None = None) -> Assembly:
    """Convert a Datasets report.

    Args:
        report: One element of `reports`.
        is_mag: Value implied by the filter of the query, if it has one.

    Raises:
        ValueError: The report has no accession or organism.
    """
    report = convert(report, _Report, source="a report of NCBI")
    info = report.get("assembly_info") or {}
    stats = report.get("assembly_stats") or {}
    organism = report.get("organism") or {}
    checkm = report.get("checkm_info") or {}
    accession, taxid = str(report.get("accession", "")), read_integer(organism.get("tax_id"))
    if not _ACCESSION.fullmatch(accession) or taxid is None:
        raise ValueError(f"a report without accession or organism: {str(report)[:80]}")
    notes = " ".join(info.get("genome_notes") or []).lower()
    current = report.get("current_accession")
    return Assembly(
        accession=accession,
        taxid=taxid,
        organism=str(organism.get("organism_name", "")),
        name=str(info.get("assembly_name", "")),
        level=read_level(str(info.get("assembly_level", ""))),
        status=str(info.get("assembly_status", "current")),
        released=str(info.get("release_date", ""))[:10],
        num_bases=read_integer(stats.get("total_sequence_length")) or 0,
        num_contigs=read_integer(stats.get("number_of_contigs")),
        completeness=_float(checkm.get("completeness")),
        contamination=_float(checkm.get("contamination")),
        is_reference=info.get("refseq_category") == "reference genome",
        is_type=bool(report.get("type_material")),
        is_atypical=bool((info.get("atypical") or {}).get("is_atypical")),
        is_mag="metagenome" in notes if is_mag is None else is_mag,
        paired=report.get("paired_accession")
        or (info.get("paired_assembly") or {}).get("accession"),
        current=current if current and current != accession else None,
    )


def from_summary(row: Mapping[str, str]) -> Assembly | None:
    """Convert a row of an assembly summary, by column names; None for a row without accession."""

    def cell(column: str) -> str:
        value = row.get(column, "").strip()
        return "" if value in ("na", "-") else value

    accession, taxid = cell("assembly_accession"), read_integer(cell("taxid"))
    if not _ACCESSION.fullmatch(accession) or taxid is None:
        return None
    excluded = cell("excluded_from_refseq").lower()
    status = {"latest": "current", "replaced": "previous"}.get(
        cell("version_status"), cell("version_status") or "current"
    )
    return Assembly(
        accession=accession,
        taxid=taxid,
        organism=cell("organism_name"),
        name=cell("asm_name"),
        level=read_level(cell("assembly_level")),
        status=status,
        released=cell("seq_rel_date").replace("/", "-"),
        num_bases=read_integer(cell("genome_size")) or 0,
        num_contigs=read_integer(cell("contig_count")),
        is_reference=cell("refseq_category") == "reference genome",
        is_type=bool(cell("relation_to_type_material")),
        is_atypical=any(word in excluded for word in _ATYPICAL),
        is_mag="metagenome" in excluded,
        paired=cell("gbrs_paired_asm") or None,
        species=read_integer(cell("species_taxid")),
        directory=cell("ftp_path").rstrip("/") or None,
    )
