"""Genomes of a corpus for the model card: from the manifest, and from files in the cache.

A corpus holds only ids of records. Their headers are read from the genomes of the corpus, if the
cache still holds them unchanged.
"""

from __future__ import annotations

from pathlib import Path

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.errors import AlphabetError, CorruptError, FormatError
from genomeformer_cli.core.genomes.fasta_headers import DescribedRecord, described_records
from genomeformer_cli.core.genomes.genome import Genome, genome_from_json, load_genome
from genomeformer_cli.core.release.card_data import CardGenome
from genomeformer_cli.core.release.organisms import organisms_of, parse_organism, role_of
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Kind, Store


def card_genomes(corpus: Corpus, *, store: Store, reporter: Reporter) -> tuple[CardGenome, ...]:
    """Return the genomes of a corpus, their roles and their records.

    Args:
        corpus: Training corpus.
        store: Cache, which may hold the genomes.
        reporter: Receives genomes whose organisms are unknown.
    """
    splits: dict[str, dict[str, set[str]]] = {}
    for segment in corpus.segments():
        of_genome = splits.setdefault(segment.genome, {})
        of_genome.setdefault(segment.record, set()).add(segment.split)
    cards = []
    for plain in corpus.manifest.genomes:
        genome = genome_from_json(plain)
        records = splits.get(genome.name, {})
        described: dict[str, DescribedRecord] = {}
        if genome.organism is None:
            described = _described(genome, store, reporter)
        cards.append(
            CardGenome(
                genome=genome,
                role=role_of(
                    split for record_splits in records.values() for split in record_splits
                ),
                records=tuple(records),
                descriptions=_descriptions(tuple(records), described),
                organisms=() if genome.organism else organisms_of(records, described),
            )
        )
    return tuple(cards)


def _described(genome: Genome, store: Store, reporter: Reporter) -> dict[str, DescribedRecord]:
    try:
        fasta = _cached(genome, store)
        if fasta is not None:
            name = f"genome `{genome.name}`"
            return {record.id: record for record in described_records(fasta, display_name=name)}
        why = "it is no longer in the cache"
    except (FormatError, AlphabetError, CorruptError) as failure:
        why = str(failure)
    reporter.warn(f"the card names no organisms of the genome `{genome.name}`: {why}")
    return {}


def _cached(genome: Genome, store: Store) -> Path | None:
    """Return the FASTA file of a genome, if the cache holds the one of the corpus."""
    if not store.has(Kind.GENOMES, genome.name):
        return None
    entry = store.entry(Kind.GENOMES, genome.name)
    cached = load_genome(entry)
    return entry.path / cached.fasta if cached.sha256 == genome.sha256 else None


def _descriptions(
    records: tuple[str, ...], described: dict[str, DescribedRecord]
) -> tuple[str, ...]:
    """Return one description per record; none if no header names an organism."""
    texts = tuple(
        described[record].description if record in described else "" for record in records
    )
    # What names nobody may be anything, paths too.
    texts = tuple(text if parse_organism(text) else "" for text in texts)
    return texts if any(texts) else ()
