"""Training and held-out data of a model card: tables of genomes and organisms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from genomeformer_cli.core.genomes.genome import Genome
from genomeformer_cli.core.proposals import count_noun
from genomeformer_cli.core.release.organisms import BOTH, HELD_OUT, Organism
from genomeformer_cli.core.tables import Table

_MAX_ROWS = 1_000
_MAX_ACCESSIONS = 8
_NOT_STATED = "not stated"
_ROLES = {
    "Held out": HELD_OUT,
    "Trained on but for held-out parts": BOTH,
    "Trained on": "trained on",
}


@dataclass(frozen=True, kw_only=True)
class CardGenome:
    """A genome of the corpus and its role."""

    genome: Genome  # Entry of the cache.
    role: str  # `trained on`, `held out`, or `both` for a genome with held-out parts.
    records: tuple[str, ...] = ()  # Ids of the records.
    descriptions: tuple[str, ...] = ()  # Header text behind the ids, one per record, if known.
    # Organisms of the records, unless the genome's own entry states one.
    organisms: tuple[Organism, ...] = ()


def num_trained_on(genomes: Sequence[CardGenome]) -> int:
    """Return the number of genomes that were trained on, in whole or in part."""
    return sum(item.role != HELD_OUT for item in genomes)


def genome_table(genomes: Sequence[CardGenome]) -> Table:
    """Return one row per genome."""
    return _cut_table(
        f"{len(genomes):,} genomes",
        ("genome", "organism", "taxid", "bases", "used", "licence", "source"),
        [_genome_row(item) for item in genomes],
    )


def _genome_row(item: CardGenome) -> tuple[str, ...]:
    genome = item.genome
    records = f" ({len(item.records):,} records)" if len(item.records) > 1 else ""
    return (
        f"{genome.accession or genome.name}{records}",
        genome.organism or ("below" if item.organisms else _NOT_STATED),
        str(genome.taxid or ""),
        f"{genome.num_bases:,}",
        item.role,
        genome.licence or _NOT_STATED,
        genome.source,
    )


def organism_tables(genomes: Sequence[CardGenome]) -> list[tuple[str, str, Table]]:
    """Return heading, caption and table per role of the organisms that headers name.

    Held-out organisms come first, as they are few.
    """
    organisms = [organism for item in genomes for organism in item.organisms]
    tables = []
    for heading, role in _ROLES.items():
        rows = [organism for organism in organisms if organism.role == role]
        if rows:
            num_records = sum(len(organism.accessions) for organism in rows)
            caption = f"{count_noun(len(rows), 'set')}, {count_noun(num_records, 'record')}"
            tables.append((heading, caption, _organism_table(f"{heading}: {caption}", rows)))
    return tables


def _organism_table(title: str, organisms: Sequence[Organism]) -> Table:
    rows = [
        (
            organism.name or _NOT_STATED,
            _accessions(organism.accessions),
            "" if organism.num_bases is None else f"{organism.num_bases:,}",
        )
        for organism in organisms
    ]
    return _cut_table(title, ("organism", "accessions", "bases"), rows)


def _accessions(accessions: Sequence[str]) -> str:
    if len(accessions) <= _MAX_ACCESSIONS:
        return ", ".join(accessions)
    return f"{min(accessions)} to {max(accessions)} ({len(accessions):,} records)"


def _cut_table(title: str, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    """Return a table whose note counts the omitted rows."""
    notes: tuple[str, ...] = ()
    if len(rows) > _MAX_ROWS:
        notes = (f"{len(rows) - _MAX_ROWS:,} more are in `genomes.lock.jsonl`.",)
    return Table(title=title, headings=headings, rows=tuple(rows[:_MAX_ROWS]), notes=notes)


def count_phyla(genomes: Sequence[CardGenome]) -> list[tuple[str, int]]:
    """Return the number of genomes per phylum, most frequent first, where lineages are known."""
    return Counter(
        taxon.name
        for item in genomes
        for taxon in item.genome.lineage
        if taxon.rank == "phylum" and taxon.name
    ).most_common()
