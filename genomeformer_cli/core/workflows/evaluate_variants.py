"""Evaluate a model on labelled variants and on the coding sequences of a genome: their files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.annotation.reading import AnnotatedRecord, annotated_records
from genomeformer_cli.core.errors import ConfigError, InputError
from genomeformer_cli.core.evaluation.labelled_variants import (
    VariantsConfig,
    VariantsResult,
    evaluate_variants,
)
from genomeformer_cli.core.formats.feature import GENE_KINDS
from genomeformer_cli.core.formats.genbank import is_genbank
from genomeformer_cli.core.formats.labelled_variants import (
    LabelledVariant,
    VariantColumns,
    VariantTable,
    read_labelled_variants,
    split_labels,
)
from genomeformer_cli.core.formats.named_records import check_names, named_records, unknown_record
from genomeformer_cli.core.formats.sequences import read_sequences
from genomeformer_cli.core.formats.text import NamedFile, local_copy
from genomeformer_cli.core.genomes.genome import (
    annotation_file,
    cached_genomes,
    genome_file,
    not_annotated,
)
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Store

Numbers = npt.NDArray[np.int64]
_NONE: Numbers = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class LabelledVariantSource:
    """Labelled variants and their genome."""

    variants: Path  # Table, parquet or VCF file; `-` is standard input.
    genome: str  # FASTA file, or name of a genome of the cache.
    annotation: Path | None  # Annotation of the genome, for distances to genes.
    label: str  # Column or INFO key of the labels.


def evaluate_variant_file(
    loaded: LoadedModel,
    source: LabelledVariantSource,
    config: VariantsConfig,
    reporter: Reporter,
    store: Store,
) -> VariantsResult:
    """Evaluate a model on the labelled variants of a file.

    Raises:
        FormatError, InputError: The variants cannot be read, or none can be used.
        FastaError, AlphabetError: The genome cannot be used.
        AnnotationError: The annotation cannot be used.
    """
    fasta, genome = genome_file(source.genome, store)
    with local_copy(str(source.variants), command="evaluate --variants -") as (path, name):
        table = read_labelled_variants(path, _columns(source.label, config), display_name=name)
    table = _with_record(table, fasta, genome)
    names = [row.variant.chromosome for row in table.rows]
    lengths: dict[str, int] = {}
    records = {
        record.id: record.codes
        for record in named_records(
            fasta, set(names), display_name=genome, lengths=lengths, reporter=reporter
        )
    }
    check_names(names, lengths, source=name, genome=genome)
    rows = tuple(
        row
        if row.variant.problem or row.variant.chromosome in lengths
        else replace(
            row,
            variant=replace(row.variant, problem=unknown_record(row.variant.chromosome, lengths)),
        )
        for row in table.rows
    )
    if source.annotation is not None and not any(row.distance is not None for row in rows):
        annotated = annotated_records(fasta, source.annotation, reporter=reporter)
        rows = _with_distances(rows, annotated)
    result = evaluate_variants(loaded, replace(table, rows=rows), records, config, reporter)
    if not result.count.used:
        raise InputError(
            f"no variant of `{name}` can be used: {result.count.sentence()}",
            hint=f"check the genome (`{genome}`), its assembly and the labels: `--label`, "
            "`--set variants.positive=...`, `--set variants.negative=...`",
        )
    return result


def _columns(label: str, config: VariantsConfig) -> VariantColumns:
    columns = VariantColumns(
        label=label,
        group=config.group,
        consequence=config.consequence,
        distance=config.distance,
        assembly=config.assembly,
        threshold=config.threshold,
    )
    if config.positive:
        columns = replace(columns, positive=split_labels(config.positive))
    if config.negative:
        columns = replace(columns, negative=split_labels(config.negative))
    return columns


def _with_record(table: VariantTable, fasta: Path, genome: str) -> VariantTable:
    """Give variants without a record the only record of the genome.

    Raises:
        InputError: The genome has several records.
    """
    if all(row.variant.chromosome for row in table.rows):
        return table
    ids = [record.id for record in read_sequences(fasta, display_name=genome)]
    if len(ids) != 1:
        raise InputError(
            f"variants of `{table.name}` name no record, and `{genome}` has {len(ids):,}",
            hint="give the target sequence as a FASTA file of one record",
        )
    return replace(
        table,
        rows=tuple(
            replace(row, variant=replace(row.variant, chromosome=row.variant.chromosome or ids[0]))
            for row in table.rows
        ),
    )


def _with_distances(
    rows: tuple[LabelledVariant, ...], records: Iterator[AnnotatedRecord]
) -> tuple[LabelledVariant, ...]:
    """Give every variant its distance to the nearest gene, 0 inside."""
    genes_by_record: dict[str, tuple[Numbers, Numbers]] = {}
    for record in records:
        genes = [feature for feature in record.features if feature.kind in GENE_KINDS]
        genes_by_record[record.id] = (
            np.array([gene.start for gene in genes]),
            np.array([gene.end for gene in genes]),
        )
    measured = []
    for row in rows:
        starts, ends = genes_by_record.get(row.variant.chromosome, (_NONE, _NONE))
        place = row.variant.position - 1
        distance = None
        if starts.size:
            gaps = np.maximum(np.maximum(starts - place, place - ends + 1), 0)
            distance = float(gaps.min())
        measured.append(replace(row, distance=distance))
    return tuple(measured)


def annotated_genome(
    source: str | None, annotation: Path | None, store: Store, reporter: Reporter
) -> tuple[Iterator[AnnotatedRecord], str]:
    """Return the annotated records of a genome, and its name.

    Args:
        source: FASTA or GenBank file, or name of a genome of the cache; None: in the annotation.
        annotation: GFF3 or GenBank file; None: that of the genome.
        store: Cache.
        reporter: Receives warnings.

    Raises:
        ConfigError: No genome or no annotation is given.
        UsageError: The genome of the cache has no annotation.
    """
    if source is None:
        if annotation is None:
            raise ConfigError(
                "`--codon-effects` needs a genome",
                hint="give `--genome`, a GenBank file or a genome of the cache with annotation",
            )
        return annotated_records(None, annotation, reporter=reporter), str(annotation)
    fasta, name = genome_file(source, store)
    if annotation is not None:
        return annotated_records(fasta, annotation, reporter=reporter), name
    if fasta != Path(source):
        ((genome, _),) = cached_genomes(store, [source])
        cached = annotation_file(genome, fasta.parent)
        if cached is None:
            raise not_annotated(genome, "--gff")
        return annotated_records(fasta, cached, reporter=reporter), name
    if not is_genbank(NamedFile(fasta, name)):
        raise ConfigError(
            f"`{name}` has no annotation",
            hint="give it with `--gff FILE`, or a GenBank file instead",
        )
    return annotated_records(None, fasta, reporter=reporter), name
