"""Score sequences, variants of a genome, and all substitutions by their probability."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from genomeformer_cli.core.annotation.sources import SequenceSources
from genomeformer_cli.core.errors import ConfigError, InputError
from genomeformer_cli.core.evaluation.base_likelihood import (
    RecordScore,
    check_scorable,
    check_single_bases,
    score_record,
)
from genomeformer_cli.core.evaluation.record_groups import map_queries
from genomeformer_cli.core.evaluation.tokenized_record import Log2, ScoringOptions
from genomeformer_cli.core.evaluation.variant_info import info_of_lines, score_fields
from genomeformer_cli.core.evaluation.variants import (
    VariantOptions,
    VariantScore,
    mutagenesis_map,
    score_variants,
)
from genomeformer_cli.core.formats.bgzf import write_bgzf
from genomeformer_cli.core.formats.named_records import (
    check_names,
    list_names,
    named_records,
    unknown_record,
)
from genomeformer_cli.core.formats.region import Region
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.formats.text import local_copy
from genomeformer_cli.core.formats.vcf import Variant, read_variants
from genomeformer_cli.core.formats.vcf_info import annotate_lines
from genomeformer_cli.core.genomes.genome import genome_file
from genomeformer_cli.core.genomes.regions import reasons
from genomeformer_cli.core.inference.precision import PrecisionName, set_precision
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.proposals import count_noun
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import Codes
from genomeformer_cli.core.store.atomic import atomic_file
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.devices import choose_device, set_threads
from genomeformer_cli.core.workflows.sources import Look, RowCheck, look_through, records_text

VCF_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz")
_VCF_COMMAND = "score --vcf -"


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """Request to score."""

    model: str | None = None  # Model, see `core/model_io/resolve.py`; None: `default`.
    rule: ScoringOptions = field(default_factory=ScoringOptions)  # Scoring options.
    needs_bases: bool = False  # The output has a value of every base.
    device: str = "auto"  # `auto`, `cpu`, or a torch device.
    workers: int | None = None  # CPU cores; None: every core, or `OMP_NUM_THREADS`.
    # Precision of the matrix products; `auto`: float32, and int8 for vectors where it is harmless.
    precision: PrecisionName = "auto"


@dataclass(frozen=True, kw_only=True)
class VariantSource:
    """Variants to score."""

    vcf: Path  # VCF file of any packing; `-` is standard input.
    genome: str  # FASTA file, or name of a genome of the cache.
    # Bases that hold a variant and what is around it; None: the context of the model.
    window: int | None = None
    model: str = "default"  # Name of the model, for the header of a VCF file.


@dataclass(frozen=True, kw_only=True)
class ScoredRecord:
    """Scored record."""

    score: RecordScore  # Sums, and bits of each base.
    codes: Codes  # Base codes.
    log2_LR: Log2  # (L, 4) log2 probabilities of A C G T.
    region: Region | None = None  # Place on a genome; None for a whole record.


@dataclass(frozen=True, kw_only=True)
class MutatedRecord:
    """Record and scores of its substitutions."""

    id: str  # First word of the header.
    codes: Codes  # Base codes.
    odds_LR: Log2  # (L, 4) log-odds of each base against the present one.
    region: Region | None = None  # Place on a genome; None for a whole record.


def load_scorer(
    request: ScoreRequest, *, reporter: Reporter, store: Store | None = None
) -> LoadedModel:
    """Load the model onto its device.

    Raises:
        NotInCacheError, CheckpointError, CorruptError: The model cannot be loaded.
        ConfigError: The tokens or the options do not allow the output.
    """
    if request.rule.every < 1 or (request.rule.window or 1) < 1:
        raise ConfigError("invalid `--every` or `--window`", hint="both are at least 1")
    set_threads(request.workers)
    loaded = read_model(model_folder(request.model, store=store or Store(), reporter=reporter))
    check_scorable(loaded)
    if request.needs_bases:
        check_single_bases(loaded)
    loaded.model.to(choose_device(request.device, reporter))
    set_precision(loaded, request.precision, reporter)
    return loaded


@contextmanager
def open_sequences(sources: SequenceSources, reporter: Reporter) -> Iterator[Look]:
    """Read the sources to their end once, as `embed` does, and keep copies of pipes.

    Raises:
        FastaError, AlphabetError, InputError: A source is invalid.
    """
    with ExitStack() as stack:
        yield look_through(sources, store=Store(), stack=stack, reporter=reporter, check=RowCheck())


def score_sequences(
    loaded: LoadedModel, look: Look, rule: ScoringOptions, reporter: Reporter, noun: str = "record"
) -> Iterator[ScoredRecord]:
    """Score every sequence, a group at a time in memory, in input order.

    Args:
        loaded: The model.
        look: Sequences that were read once.
        rule: Options.
        reporter: Receives progress and counts.
        noun: Noun of a sequence in messages.
    """
    num_records = num_bases = num_without = 0
    with reporter.track("scoring", look.num_bases, "bases") as tracker:
        scored = map_queries(
            lambda query: score_record(loaded, query.id, query.codes, rule),
            look.read(),
            loaded.model.device,
        )
        for query, (record_score, log2_LR) in scored:
            codes, score = query.codes, replace(record_score, id=query.id)
            num_records, num_bases = num_records + 1, num_bases + codes.size
            if not score.num_scored:
                num_without += 1
                reason = query.problem or "no base that can be scored"
                kind = "record" if query.region is None else "region"
                reporter.warn(f"{kind} `{query.id}` is without a score: {reason}")
            yield ScoredRecord(score=score, codes=codes, log2_LR=log2_LR, region=query.region)
            tracker.advance(codes.size)
    reporter.note(records_text(num_records, num_bases, num_without, noun))


def map_sequences(
    loaded: LoadedModel, look: Look, every: int, reporter: Reporter
) -> Iterator[MutatedRecord]:
    """Yield the substitution scores of every sequence.

    Raises:
        ConfigError: A record is longer than the context of a causal model.
    """
    longest = loaded.model.config.context
    with reporter.track("mutating", None, "bases") as tracker:

        def mutate(query: Query) -> Log2:
            identifier, codes = query.id, query.codes
            if objective_for(loaded.model.config.direction).is_causal and codes.size > longest:
                raise ConfigError(
                    f"record `{identifier}` has {codes.size:,} bases, and the model a context of "
                    f"{longest:,}",
                    hint=f"cut the record into pieces that fit, as in `--tile {longest}`",
                )
            return mutagenesis_map(loaded, codes, every)

        for query, odds_LR in map_queries(mutate, look.read(), loaded.model.device):
            codes = query.codes
            yield MutatedRecord(id=query.id, codes=codes, odds_LR=odds_LR, region=query.region)
            tracker.advance(codes.size)


@dataclass(frozen=True, kw_only=True)
class ScoredVariants:
    """Scores of a VCF file, with the names of its records and of those of the genome."""

    scores: tuple[VariantScore, ...]  # One per alternative allele, in file order.
    vcf: str  # Name of the VCF file.
    genome: str  # Name of the genome.
    records: tuple[str, ...]  # Records of the genome.

    def check_scored(self) -> None:
        """Check that an allele has a number.

        Raises:
            InputError: All alleles are without one.
        """
        is_empty = all(
            score.log_odds is None and score.embedding_distance is None for score in self.scores
        )
        if not self.scores or not is_empty:
            return
        first = self.scores[0]
        names = [score.variant.chromosome for score in self.scores]
        raise InputError(
            f"no allele of `{self.vcf}` could be scored "
            f"({reasons(score.note for score in self.scores)}): the file names "
            f"{list_names(names)}, the genome `{self.genome}` {list_names(self.records)}",
            hint=f"the first, in line {first.variant.line}: {first.note}; give the genome whose "
            "coordinates the file uses",
        )


def score_vcf(
    loaded: LoadedModel, source: VariantSource, reporter: Reporter, store: Store | None = None
) -> ScoredVariants:
    """Score every alternative allele of a VCF file, in its order.

    Args:
        loaded: The model.
        source: Variants and their genome.
        reporter: Receives what was read, used and left out.
        store: Cache.

    Raises:
        InputError: The VCF file cannot be read, or none of its rows is on a record of the genome.
        FastaError, AlphabetError: The genome cannot be used.
    """
    with local_copy(str(source.vcf), command=_VCF_COMMAND) as local_vcf:
        return _score_file(loaded, source, local_vcf, reporter, store)


def annotate_vcf(
    loaded: LoadedModel,
    source: VariantSource,
    output: Path,
    reporter: Reporter,
    store: Store | None = None,
) -> ScoredVariants:
    """Write a VCF file with the scores of its alleles in INFO.

    Args:
        loaded: The model.
        source: Variants and their genome.
        output: VCF file; blocked gzip unless its name ends in `.vcf`.
        reporter: Receives what was read, used and left out.
        store: Cache.

    Raises:
        InputError: As for `score_vcf`; or the file has the fields of the scores already.
        FastaError, AlphabetError: The genome cannot be used.
        StoreError: The output cannot be written.
    """
    with local_copy(str(source.vcf), command=_VCF_COMMAND) as local_vcf:
        result = _score_file(loaded, source, local_vcf, reporter, store)
        fields = score_fields(source.model)
        lines = annotate_lines(*local_vcf, fields, info_of_lines(result.scores))
        with atomic_file(output) as file:
            if output.suffix.lower() == VCF_SUFFIXES[0]:
                file.writelines(lines)
            else:
                write_bgzf(file, lines)
    return result


def _score_file(
    loaded: LoadedModel,
    source: VariantSource,
    local_vcf: tuple[Path, str],
    reporter: Reporter,
    store: Store | None,
) -> ScoredVariants:
    path, vcf = local_vcf
    variants = list(read_variants(path, display_name=vcf))
    fasta, display_name = genome_file(source.genome, store or Store())
    record_lengths: dict[str, int] = {}
    names = [variant.chromosome for variant in variants]
    records = {
        record.id: record.codes
        for record in named_records(
            fasta, set(names), display_name=display_name, lengths=record_lengths, reporter=reporter
        )
    }
    check_names(names, record_lengths, source=vcf, genome=display_name)
    variants = [_with_record(variant, record_lengths) for variant in variants]
    width = source.window or loaded.model.config.context
    options = VariantOptions(window=width)
    scores = score_variants(loaded, variants, records, options, reporter)
    _report(scores, vcf, reporter)
    return ScoredVariants(
        scores=tuple(scores), vcf=vcf, genome=display_name, records=tuple(record_lengths)
    )


def _with_record(variant: Variant, records: Collection[str]) -> Variant:
    """Return the variant, its problem the record where the genome does not have it."""
    if variant.problem or variant.chromosome in records:
        return variant
    return replace(variant, problem=unknown_record(variant.chromosome, records))


def _report(scores: list[VariantScore], vcf: str, reporter: Reporter) -> None:
    """Report how many rows and alleles were read and scored, and why some were not."""
    rows = count_noun(len({score.variant.line for score in scores}), "row")
    alleles = count_noun(len(scores), "allele")
    missing = [score for score in scores if score.note]
    text = f"`{vcf}`: {rows}, {alleles}, {len(scores) - len(missing):,} scored"
    if not missing:
        reporter.note(text)
        return
    first = missing[0]
    reporter.warn(
        f"{text}, {len(missing):,} without a score "
        f"({reasons(score.note for score in missing)}), the "
        f"first in line {first.variant.line}: {first.note}"
    )
