"""Apply a fine-tuned model to sequences, in the order of the input; no record is dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.annotation.sources import RegionConfig, SequenceSources
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.finetuning.checkpoint import SavedTask, read_finetuned
from genomeformer_cli.core.finetuning.inference import Predictor
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.formats.labelled import RowCount
from genomeformer_cli.core.formats.region import Region
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.tokenizers.protocol import Tokenizer, has_real_token
from genomeformer_cli.core.workflows.devices import choose_device, set_threads
from genomeformer_cli.core.workflows.sources import RowCheck, look_through

EMPTY, ONLY_N, NO_TOKEN = "empty", "only-N", "no-whole-token"
_BASES, _RECORDS = 1 << 22, 1 << 14


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Options of the computation."""

    tokens_per_batch: int = 16_384  # Maximum batch size, padding included; changes memory only.

    def __post_init__(self) -> None:
        if self.tokens_per_batch < 1:
            raise ConfigError(
                f"invalid batch size of {self.tokens_per_batch} tokens",
                hint="leave `tokens_per_batch` unset, or raise it",
            )


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Settings of `predict`."""

    rows: PredictOptions = field(default_factory=PredictOptions)  # Options of the computation.
    flank: int = 100  # Bases on each side of a variant.
    # Rarely changed rules of tiles.
    regions: RegionConfig = field(default_factory=RegionConfig)


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """Request to predict."""

    sources: SequenceSources  # Sequences to predict on.
    model: str  # Bundle of a fine-tuned model, or its name in the cache.
    config: PredictConfig = field(default_factory=PredictConfig)  # Settings of the prediction.
    device: str = "auto"  # `auto`, `cpu`, or a torch device.
    workers: int | None = None  # CPU cores; None: every core, or `OMP_NUM_THREADS`.


@dataclass(frozen=True, kw_only=True)
class PredictedRecord:
    """Prediction of one sequence."""

    id: str  # Id of the record.
    codes: Codes  # Base codes.
    # (1, C) probabilities or quantities, or (bases, C); NaN without a real base.
    answers: npt.NDArray[np.float64]
    note: str = ""  # Reason for a missing prediction; empty if there is one.
    region: Region | None = None  # Place on a genome; None for a whole record.

    def labels(self, targets: LabelSpace) -> list[str] | None:
        """Return the most probable class (of each base), or all labels above one half.

        None without a prediction; an empty list for quantities.
        """
        if self.note:
            return None
        if targets.kind is TaskKind.REGRESSION:
            return []
        if targets.kind is TaskKind.MULTI_LABEL:
            pairs = zip(targets.names, self.answers[0], strict=True)
            return [name for name, chance in pairs if chance > 0.5]
        return [targets.names[number] for number in self.answers.argmax(axis=1)]


@dataclass(frozen=True, kw_only=True)
class LoadedPredictor:
    """Loaded model and its labels."""

    answerer: Predictor
    task: SavedTask
    folder: Path


def load_predictor(
    request: PredictRequest, *, reporter: Reporter, store: Store | None = None
) -> LoadedPredictor:
    """Load a fine-tuned model.

    Raises:
        NotInCacheError, CheckpointError, CorruptError: The model cannot be loaded, or has no head.
        ConfigError: The device is unknown.
    """
    folder = model_folder(request.model, store=store or Store(), reporter=reporter)
    loaded, task = read_finetuned(folder)
    set_threads(request.workers)
    loaded.model.to(choose_device(request.device, reporter))
    tokens = request.config.rows.tokens_per_batch
    answerer = task.predictor(loaded.model, loaded.tokenizer, tokens)
    return LoadedPredictor(answerer=answerer, task=task, folder=folder)


def predict_sequences(
    predictor: LoadedPredictor,
    request: PredictRequest,
    *,
    reporter: Reporter,
    store: Store | None = None,
) -> Iterator[PredictedRecord]:
    """Yield the prediction of every record, in order.

    Raises:
        FastaError, AlphabetError, InputError: The input is invalid.
    """
    with ExitStack() as stack:
        look = look_through(
            request.sources,
            store=store or Store(),
            stack=stack,
            reporter=reporter,
            check=RowCheck(),
        )
        tracker = stack.enter_context(reporter.track("predicting", look.num_bases, "bases"))
        notes: Counter[str] = Counter()
        for record in predict_queries(predictor.answerer, look.read(), tracker.advance):
            notes[record.note] += 1
            yield record
        reporter.note(count_notes(notes).sentence("sequences"))


def predict_queries(
    answerer: Predictor, queries: Iterable[Query], progress: Callable[[int], None]
) -> Iterator[PredictedRecord]:
    """Yield the prediction of every sequence, in order.

    Args:
        answerer: Model with its head.
        queries: Sequences.
        progress: Receives the number of bases of each finished batch.
    """
    for group in _groups(iter(queries)):
        codes = [query.codes for query in group]
        for query, answers in zip(group, answerer.predict(codes, progress), strict=True):
            note = query.problem or _note(query.codes, answerer.collator.tokenizer)
            yield PredictedRecord(
                id=query.id, codes=query.codes, answers=answers, note=note, region=query.region
            )


def count_notes(notes: Counter[str]) -> RowCount:
    """Return the count of sequences, by the notes of those without an answer.

    Notes of regions are counted by their category, the text before `:`.
    """
    count = RowCount(read=notes.total(), used=notes.total())
    for note in filter(None, notes):
        count = count.without(note.partition(":")[0], notes[note])
    return count


def _note(codes: Codes, tokenizer: Tokenizer) -> str:
    if not codes.size:
        return EMPTY
    if codes.min() == NUM_REAL_BASES:
        return ONLY_N
    return "" if has_real_token(tokenizer, codes) else NO_TOKEN


def _groups(queries: Iterator[Query]) -> Iterator[Sequence[Query]]:
    """Yield records that are sorted by length together."""
    group: list[Query] = []
    num_bases = 0
    for query in queries:
        group.append(query)
        num_bases += query.codes.size
        if num_bases >= _BASES or len(group) >= _RECORDS:
            yield group
            group, num_bases = [], 0
    if group:
        yield group
