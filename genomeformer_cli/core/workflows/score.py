"""How probable a model finds sequences, variants of a genome, and every substitution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from genomeformer_cli.core.checkpoints.weights import LoadedModel, read_model
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.scoring import (
    Log2,
    RecordScore,
    ScoringRule,
    check_scorable,
    score_record,
)
from genomeformer_cli.core.evaluation.variants import (
    VariantScore,
    mutagenesis_map,
    read_vcf,
    score_variants,
)
from genomeformer_cli.core.formats.fasta import local_copy, read_records
from genomeformer_cli.core.release.sources import model_folder
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import Codes, encode_bases
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.compute import choose_device, set_threads


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """What to score, with which model.

    Attributes:
        model: As a user names it, see `core/release/sources.py`; None: `default`.
        rule: How sequences are read.
        device: `auto`, `cpu`, or a torch device.
        threads: CPU threads; None: all usable cores.
    """

    model: str | None = None
    rule: ScoringRule = field(default_factory=ScoringRule)
    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class ScoredRecord:
    """A record and what was asked of it.

    Attributes:
        score: Its sums, and the bits of each base.
        codes: Its bases.
        log2_LR: (L, 4) log2 of the probabilities of A C G T.
    """

    score: RecordScore
    codes: Codes
    log2_LR: Log2


@dataclass(frozen=True, kw_only=True)
class MutatedRecord:
    """A record and its map of substitutions.

    Attributes:
        id: First word of its header.
        codes: Its bases.
        odds_LR: (L, 4) log-odds of each base in the place of the one that is there.
    """

    id: str
    codes: Codes
    odds_LR: Log2


def load_scorer(
    request: ScoreRequest, *, reporter: Reporter, store: Store | None = None
) -> LoadedModel:
    """The model, where it is to run.

    Raises:
        NotInCacheError, CheckpointError, CorruptError: It cannot be used.
        ConfigError: Its tokens are not single bases, or the rule cannot be.
    """
    if request.rule.every < 1 or (request.rule.window or 1) < 1:
        raise ConfigError("nothing can be read so", hint="`--every` and `--window` are at least 1")
    set_threads(request.threads)
    loaded = read_model(model_folder(request.model, store=store or Store(), reporter=reporter))
    check_scorable(loaded)
    loaded.model.to(choose_device(request.device))
    return loaded


def score_sequences(
    loaded: LoadedModel, source: str, rule: ScoringRule, reporter: Reporter
) -> Iterator[ScoredRecord]:
    """Score every record of a file, one at a time in memory, in input order.

    Raises:
        FastaError, AlphabetError: The input cannot be used.
    """
    with reporter.track("scoring", None, "bases") as tracker:
        for identifier, codes in _records(source):
            score, log2_LR = score_record(loaded, identifier, codes, rule)
            if not score.num_scored:
                reporter.warn(f"record `{identifier}` has no base that can be scored")
            yield ScoredRecord(score=score, codes=codes, log2_LR=log2_LR)
            tracker.advance(codes.size)


def map_sequences(
    loaded: LoadedModel, source: str, every: int, reporter: Reporter
) -> Iterator[MutatedRecord]:
    """The substitution map of every record of a file.

    Raises:
        ConfigError: A record is longer than the context of a causal model.
        FastaError, AlphabetError: The input cannot be used.
    """
    longest = loaded.model.config.context
    with reporter.track("mutating", None, "bases") as tracker:
        for identifier, codes in _records(source):
            if loaded.model.config.direction == "causal" and codes.size > longest:
                raise ConfigError(
                    f"record `{identifier}` has {codes.size:,} bases, and the model a context of "
                    f"{longest:,}",
                    hint="cut the record: each of its substitutions is a sequence to read",
                )
            odds_LR = mutagenesis_map(loaded, codes, every)
            yield MutatedRecord(id=identifier, codes=codes, odds_LR=odds_LR)
            tracker.advance(codes.size)


def _records(source: str) -> Iterator[tuple[str, Codes]]:
    with local_copy(source, command="score -") as (path, shown):
        for record in read_records(path, shown=shown):
            where = f"`{shown}`: record `{record.id}`"
            yield record.id, encode_bases(record.sequence, where=where)


def score_vcf(
    loaded: LoadedModel, vcf: Path, genome: Path, window: int | None, reporter: Reporter
) -> list[VariantScore]:
    """Score every alternative allele of a VCF file, in its order.

    Raises:
        InputError: It is no VCF.
        FastaError, AlphabetError: The genome cannot be used.
    """
    variants = list(read_vcf(vcf))
    wanted = {variant.chromosome for variant in variants}
    records = {
        record.id: encode_bases(record.sequence, where=f"`{genome}`: record `{record.id}`")
        for record in read_records(genome)
        if record.id in wanted
    }
    width = window or loaded.model.config.context
    scores = score_variants(loaded, variants, records, width, reporter)
    failed = [one for one in scores if one.note]
    if failed:
        first = failed[0].variant
        reporter.warn(
            f"{len(failed)} of {len(scores)} alleles lack a score, the first at "
            f"{first.chromosome}:{first.position}: {failed[0].note}"
        )
    return scores
