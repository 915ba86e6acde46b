"""Python API: `load` a model, choose `regions` of a genome."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.annotation.sources import RegionConfig, SequenceSources
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.module import EmbeddingModule
from genomeformer_cli.core.embedding.options import AUTO, EmbedOptions
from genomeformer_cli.core.embedding.pools import Pool
from genomeformer_cli.core.embedding.workers import embed_rows
from genomeformer_cli.core.errors import ConfigError, InputError, UsageError
from genomeformer_cli.core.evaluation.base_likelihood import check_scorable, score_record
from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
from genomeformer_cli.core.finetuning.checkpoint import read_finetuned
from genomeformer_cli.core.finetuning.ensemble import Ensemble
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.formats.region import Region, WordColumn, region_columns
from genomeformer_cli.core.formats.sequences import Query, TileContext
from genomeformer_cli.core.inference.precision import PrecisionName, UsedPrecision, set_precision
from genomeformer_cli.core.model_io.bundled import DEFAULT_MODEL
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import Codes, encode_bases
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.devices import choose_device
from genomeformer_cli.core.workflows.predict import (
    PredictedRecord,
    PredictOptions,
    predict_queries,
)
from genomeformer_cli.core.workflows.sources import Look, RowCheck, look_through

Floats = npt.NDArray[np.float32]
Table = dict[str, Any]
Sequences = Iterable[str | Query]
_NO_BASES = np.empty(0, dtype=np.uint8)
_BASES_PER_BATCH = 1 << 22
_SCORES = ("log_likelihood", "bits_per_base", "perplexity")
# Fields of `SequenceSources` that `regions` takes under other names.
_NOT_CHOICES = {"files", "genome", "features", "rules", "shard"}


def load(
    model: str | Path = DEFAULT_MODEL, *, device: str = "auto", precision: PrecisionName = "fp32"
) -> EmbeddingModel:
    """Load a model for embedding.

    Args:
        model: Bundle, run or checkpoint folder, archive, name in the cache, `hf://ORG/NAME`, or
            `default`, the model in the package.
        device: `auto`, `cpu`, or a torch device.
        precision: Precision of matrix products: `fp32`, `bf16`, `int8`, or `auto` as in `embed`.

    Raises:
        NotInCacheError, CheckpointError, CorruptError: The model cannot be used.
        NetworkError: The Hub cannot be reached.
        ConfigError: The device does not exist, or does not compute in this precision.
    """
    loaded = read_model(model_folder(str(model), store=Store(), reporter=SilentReporter()))
    loaded.model.to(choose_device(device))
    used = set_precision(loaded, precision, SilentReporter(), vectors=True)
    return EmbeddingModel(loaded, used)


class EmbeddingModel:
    """Loaded model.

    Attributes:
        loaded: Torch model, tokenizer and folder.
        precision: Precision of matrix products.
    """

    def __init__(self, loaded: LoadedModel, precision: UsedPrecision = "fp32") -> None:
        self.loaded = loaded
        self.precision = precision

    @property
    def name(self) -> str:
        """Name of the folder of the model."""
        return self.loaded.folder.name

    def embed(self, sequences: Sequences, **choices: Any) -> Floats | list[Floats]:
        """Return vectors of DNA sequences or regions.

        Args:
            sequences: DNA in upper or lower case, with IUPAC codes; or `regions` of a genome.
            choices: `pool`, `layers`, `rc`, `window`, `stride`, `tokens_per_batch`: see
                `EmbedOptions`.

        Returns:
            Array (N, width), one row per sequence in input order, NaN for sequences without real
            bases, or without a word of three for `pool="words"`; with `pool="none"` a list with one
            array (bases, width) per sequence.

        Raises:
            AlphabetError: A sequence holds a character that is not a nucleotide code.
            ConfigError: The model does not support the options.
        """
        embedder = Embedder(self.loaded, EmbedOptions(**choices))
        rows: list[Floats] = []
        for codes, contexts in _batches(queries_of(sequences)):
            if not embedder.options.per_base or contexts:
                rows.append(embed_rows(embedder, codes, contexts))
                continue
            sizes = [sequence.size for sequence in codes]
            vectors = np.empty((sum(sizes), embedder.width), dtype=np.float32)
            embedder.embed_bases(codes, vectors)
            rows += np.split(vectors, np.cumsum(sizes)[:-1])
        if embedder.options.per_base:
            return rows
        return np.concatenate(rows) if rows else np.empty((0, embedder.width), dtype=np.float32)

    def score(self, sequences: Sequences, **choices: Any) -> Table:
        """Return the likelihood of DNA sequences or regions.

        Args:
            sequences: DNA, or `regions` of a genome.
            choices: `window`, `every`, `both_strands`: see `ScoringOptions`.

        Returns:
            Columns by name, one value per sequence in input order: `id`, the coordinates of
            regions, `length`, `scored`, `log_likelihood`, `bits_per_base`, `perplexity`.

        Raises:
            AlphabetError: A sequence holds a character that is not a nucleotide code.
            ConfigError: The model computes no probabilities.
        """
        check_scorable(self.loaded)
        rule = ScoringOptions(**choices)
        queries, scores = [], []
        for query in queries_of(sequences):
            scores.append(score_record(self.loaded, query.id, query.codes, rule)[0])
            queries.append(replace(query, codes=_NO_BASES))
        return {
            **_columns(queries),
            "length": np.array([score.length for score in scores], dtype=np.int64),
            "scored": np.array([score.num_scored for score in scores], dtype=np.int64),
            **{name: np.array([getattr(score, name) for score in scores]) for name in _SCORES},
        }

    def predict(self, sequences: Sequences) -> Table:
        """Return the predictions of a fine-tuned model for DNA sequences or regions.

        Args:
            sequences: DNA, or `regions` of a genome.

        Returns:
            Columns by name, one value per sequence in input order: `id`, the coordinates of
            regions, `length`, `label` of classes or `labels` of several, `p_NAME` of each class or
            the values of a regression, and `note`, the reason for a missing prediction. A model of
            bases has lists with one entry per base.

        Raises:
            AlphabetError: A sequence holds a character that is not a nucleotide code.
            CheckpointError: The model has no prediction head.
        """
        # The model that was loaded for vectors has no head.
        tuned, task = read_finetuned(self.loaded.folder)
        tuned.model.to(self.loaded.model.device)
        set_precision(tuned, self.precision, SilentReporter())
        predictor = task.predictor(tuned.model, tuned.tokenizer, PredictOptions.tokens_per_batch)
        answerer = Ensemble(members=(predictor,))
        records = list(predict_queries(answerer, queries_of(sequences), _no_progress))
        return {
            **_columns(records),
            "length": np.array([record.codes.size for record in records], dtype=np.int64),
            **_answer_columns(task.targets, records),
            "note": [record.note for record in records],
        }

    def __repr__(self) -> str:
        model = self.loaded.model
        return (
            f"EmbeddingModel({self.name!r}, {model.num_parameters:,} parameters, "
            f"width {model.config.width}, context {model.config.context:,} tokens)"
        )

    def module(self, *, pool: Pool = AUTO, layers: str = AUTO) -> EmbeddingModule:
        """Return the model as a torch module for fine-tuning, with shared weights.

        Raises:
            ConfigError: The model does not compute in float32, or does not support the options.
        """
        if self.precision != "fp32":
            raise ConfigError(
                f"a model in `{self.precision}` cannot be trained",
                hint='load it with `precision="fp32"`',
            )
        return EmbeddingModule(self.loaded, pool=pool, layers=layers)


@dataclass(frozen=True)
class Regions:
    """Regions of genomes, cut lazily; see `regions`."""

    look: Look  # Sources that were read once.
    noun: str  # Noun of a sequence.

    def __iter__(self) -> Iterator[Query]:
        """Yield each sequence with its id and coordinates."""
        yield from self.look.read()  # keeps the copy of a pipe, which this object owns

    def __len__(self) -> int:
        return self.look.num_records

    def columns(self) -> Table:
        """Return `id` and the coordinates as columns."""
        return _columns(replace(query, codes=_NO_BASES) for query in self)

    def __repr__(self) -> str:
        number, bases = self.look.num_records, self.look.num_bases
        return f"Regions({number:,} {self.noun}s, {bases:,} bases)"


def regions(*genomes: str | Path, **choices: Any) -> Regions:
    """Choose sequences of genomes, as `embed` does on the command line.

    Args:
        genomes: Names in the cache, or FASTA, GenBank or other files.
        choices: `feature` (a type or several), `upstream`, `downstream`, `gff`, `bed`, `vcf`,
            `flank`, `tile`, `step`, `both_strands`, `max_n`, `context`. Without any, every
            record.

    Raises:
        UsageError: The choices contradict each other, or one does not exist.
        FormatError, AlphabetError, NotInCacheError: A file or genome cannot be read.
    """
    rules: dict[str, Any] = {
        name: choices.pop(name) for name in ("both_strands", "max_n", "context") if name in choices
    }
    feature = choices.pop("feature", None) or ()
    features = (feature,) if isinstance(feature, str) else tuple(feature)
    for name in ("gff", "bed", "vcf"):
        if choices.get(name) is not None:
            choices[name] = Path(choices[name])
    valid = {field.name for field in fields(SequenceSources)} - _NOT_CHOICES
    if unknown := [name for name in choices if name not in valid]:
        raise UsageError(f"unknown choice `{unknown[0]}`", hint="see `help(genomeformer.regions)`")
    for name in ("upstream", "downstream", "flank", "tile", "step", "context"):
        number = rules.get(name, choices.get(name))
        if number is not None and not isinstance(number, Integral):
            raise UsageError(f"`{name}={number!r}` is not a whole number", hint="such as 200")
    names = tuple(str(genome) for genome in genomes)
    # Rows of a BED, VCF or GFF file are on one genome.
    place: dict[str, Any] = {"genome": names[0]} if len(names) == 1 else {"files": names}
    sources = SequenceSources(**place, **choices, features=features, rules=RegionConfig(**rules))
    with ExitStack() as stack:
        look = look_through(
            sources, store=Store(), stack=stack, reporter=SilentReporter(), check=RowCheck()
        )
        selected = Regions(look, sources.noun)
        weakref.finalize(selected, stack.pop_all().close)
    return selected


def queries_of(sequences: Sequences) -> Iterator[Query]:
    """Yield DNA or regions as sequences to compute on; DNA is numbered from 0.

    Raises:
        InputError: A single sequence is given instead of several, or one is not text.
        AlphabetError: A sequence holds a character that is not a nucleotide code.
    """
    if isinstance(sequences, str | bytes):
        raise InputError(
            "expected a list of sequences, got one string", hint='give a list: `["ACGT"]`'
        )
    for number, sequence in enumerate(sequences):
        if isinstance(sequence, Query):
            yield sequence
        elif isinstance(sequence, str | bytes):
            yield Query(str(number), encode_bases(sequence, where=f"sequence {number}"))
        else:
            raise InputError(
                f"sequence {number} is not text: `{sequence!r}`",
                hint="leave rows without a sequence out, or give an empty text for them",
            )


def _batches(queries: Iterator[Query]) -> Iterator[tuple[list[Codes], list[TileContext]]]:
    """Yield base codes, and stretches of tiles, in groups that are sorted by length together."""
    batch: list[Codes] = []
    contexts: list[TileContext] = []
    num_bases = 0
    for query in queries:
        batch.append(query.codes)
        if query.context is not None:
            contexts.append(query.context)
        num_bases += query.codes.size
        if num_bases >= _BASES_PER_BATCH:
            yield batch, contexts
            batch, contexts, num_bases = [], [], 0
    if batch:
        yield batch, contexts


def _columns(records: Iterable[Query | PredictedRecord]) -> Table:
    """Return ids, and coordinates if there are any, as columns."""
    ids: list[str] = []
    places: list[Region] = []
    for record in records:
        ids.append(record.id)
        if record.region is not None:
            places.append(record.region)
    if not places:
        return {"id": ids}
    columns = region_columns(places).items()
    return {"id": ids} | {
        name: column.values() if isinstance(column, WordColumn) else column
        for name, column in columns
    }


def _answer_columns(targets: LabelSpace, records: Sequence[PredictedRecord]) -> Table:
    """Return labels, and probabilities or values, as columns."""
    columns: Table = {}
    if targets.kind is not TaskKind.REGRESSION:
        labels = [record.labels(targets) for record in records]
        single = targets.kind is TaskKind.CLASSIFICATION
        columns["label" if single else "labels"] = [
            names[0] if single and names else names for names in labels
        ]
    prefix = "" if targets.kind is TaskKind.REGRESSION else "p_"
    for index, name in enumerate(targets.names):
        values = [record.answers[:, index] for record in records]
        columns[f"{prefix}{name}"] = (
            values if targets.is_per_base else np.array([value[0] for value in values])
        )
    return columns


def _no_progress(num_bases: int) -> None:
    del num_bases
