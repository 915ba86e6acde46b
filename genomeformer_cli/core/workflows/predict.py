"""Apply a fine-tuned model to sequences, in the order of the input; no record is dropped."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genomeformer_cli._version import __version__
from genomeformer_cli.core.annotation.sources import RegionConfig, SequenceSources
from genomeformer_cli.core.configuration import check_range, to_plain
from genomeformer_cli.core.errors import ConfigError, UsageError
from genomeformer_cli.core.finetuning.checkpoint import SavedTask, read_finetuned
from genomeformer_cli.core.finetuning.ensemble import Ensemble, check_same_labels
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.formats.labelled import RowCount
from genomeformer_cli.core.formats.region import Region
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.formats.tracks.elements import Chromosome
from genomeformer_cli.core.inference.precision import PrecisionName, set_precision
from genomeformer_cli.core.model_io.bundle_layout import HEAD_FILE
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.model_io.tensors import weights_sha256
from genomeformer_cli.core.proposals import count_noun
from genomeformer_cli.core.reporting import Reporter, Tracker
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.store.seal import file_sha256, has_same_seal
from genomeformer_cli.core.workflows.devices import choose_device, set_threads
from genomeformer_cli.core.workflows.prediction_parts import PredictionParts
from genomeformer_cli.core.workflows.sources import Look, RowCheck, look_through

EMPTY, ONLY_N, NO_TOKEN = "empty", "only-N", "no-whole-token"
_BASES, _RECORDS = 1 << 22, 1 << 14
_BASES_OF_PART = 1 << 19
_FAR_LONGER = 4


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

    def __post_init__(self) -> None:
        check_range("flank", self.flank, 0)


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """Request to predict."""

    sources: SequenceSources  # Sequences to predict on.
    # Bundles of fine-tuned models of one task, or their names in the cache; predictions are means.
    models: tuple[str, ...]
    config: PredictConfig = field(default_factory=PredictConfig)  # Settings of the prediction.
    device: str = "auto"  # `auto`, `cpu`, or a torch device.
    workers: int | None = None  # CPU cores; None: every core, or `OMP_NUM_THREADS`.
    # Precision of the matrix products; `auto`: float32, and int8 for vectors where it is harmless.
    precision: PrecisionName = "auto"
    resume: bool = False  # Use the finished parts of an interrupted command.


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

    answerer: Ensemble
    task: SavedTask
    folders: tuple[Path, ...]


def load_predictor(
    request: PredictRequest, *, reporter: Reporter, store: Store | None = None
) -> LoadedPredictor:
    """Load fine-tuned models.

    Raises:
        NotInCacheError, CheckpointError, CorruptError: A model cannot be loaded, or has no head.
        ConfigError: The device is unknown.
        UsageError: A model is given twice, or the labels differ.
    """
    set_threads(request.workers)
    device, tokens = choose_device(request.device, reporter), request.config.rows.tokens_per_batch
    folders: list[Path] = []
    predictors, tasks = [], {}
    for name in request.models:
        folder = model_folder(name, store=store or Store(), reporter=reporter)
        # The same weights under two names would count twice in the mean.
        if any(has_same_seal(folder, earlier) for earlier in folders):
            raise UsageError("a model is given twice", hint="give every `--model` once")
        folders.append(folder)
        loaded, tasks[name] = read_finetuned(folder)
        loaded.model.to(device)
        set_precision(loaded, request.precision, reporter, vectors=True)
        predictors.append(tasks[name].predictor(loaded.model, loaded.tokenizer, tokens))
    check_same_labels({name: task.targets for name, task in tasks.items()})
    return LoadedPredictor(
        answerer=Ensemble(members=tuple(predictors)),
        task=tasks[request.models[0]],
        folders=tuple(folders),
    )


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Sequences that were read once, and the predictor to apply to them."""

    predictor: LoadedPredictor
    look: Look  # Result of reading the sequences.
    parts: PredictionParts | None = None  # Finished parts on disk; None: keep nothing.
    noun: str = "record"  # Noun of one row in messages.

    def chromosomes(self) -> list[Chromosome]:
        """Return the records and their lengths, in the order of the files."""
        return [Chromosome(name=row.id, length=row.codes.size) for row in self.look.records()]

    def records(self, reporter: Reporter) -> Iterator[PredictedRecord]:
        """Yield the prediction of every sequence, in order; finished parts are read from disk."""
        notes: Counter[str] = Counter()
        warning = _LengthWarning(self.predictor.task, reporter)
        with reporter.track("predicting", self._num_bases(self.look.num_bases), "bases") as tracker:
            for number, group in enumerate(self._groups()):
                warning.check(group)
                predictions = self._predict(number, group, tracker)
                for query, answers in zip(group, predictions, strict=True):
                    note = query.problem or _note(query.codes, self.predictor.answerer)
                    notes[note] += 1
                    yield PredictedRecord(
                        id=query.id,
                        codes=query.codes,
                        answers=answers,
                        note=note,
                        region=query.region,
                    )
        reporter.note(count_notes(notes).sentence(self.noun))

    def _num_bases(self, num_bases: int) -> int:
        """Return the bases that the members read together."""
        return num_bases * len(self.predictor.answerer.members)

    def _groups(self) -> Iterator[Sequence[Query]]:
        # Small parts on disk: an interruption loses at most one.
        return _groups(self.look.read(), _BASES if self.parts is None else _BASES_OF_PART)

    def _predict(
        self, number: int, group: Sequence[Query], tracker: Tracker
    ) -> Sequence[npt.NDArray[np.float64]]:
        stored = self.parts.read(number) if self.parts is not None else None
        if stored is not None and len(stored) == len(group):
            tracker.advance(self._num_bases(sum(query.codes.size for query in group)))
            return stored
        predictions = predict_group(self.predictor.answerer, group, tracker.advance)
        if self.parts is not None:
            self.parts.write(number, predictions)
        return predictions


@contextmanager
def open_prediction(
    predictor: LoadedPredictor,
    request: PredictRequest,
    *,
    reporter: Reporter,
    store: Store | None = None,
    folder: Path | None = None,
) -> Iterator[Prediction]:
    """Read the sequences once, and prepare their prediction.

    Args:
        predictor: Loaded model.
        request: Sequences and options.
        reporter: Receives messages and progress.
        store: Cache.
        folder: Folder of finished parts, which is removed after success and kept otherwise; None:
            keep nothing.

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
        noun = request.sources.noun
        if folder is None:
            yield Prediction(predictor=predictor, look=look, noun=noun)
            return
        if request.resume and look.identities is None:
            raise UsageError(
                "sequences of a pipe cannot be compared with those of the interrupted command",
                hint="put the sequences into a file, or leave `--resume` out",
            )
        job = _describe_job(predictor, request, look)
        parts = PredictionParts(folder, job=job, resume=request.resume)
        if parts.was_discarded:
            reporter.warn(
                f"`{folder}` belongs to other sequences, another model or other options: starting "
                "over"
            )
        if parts.num_found:
            reporter.note(f"resuming: {count_noun(parts.num_found, 'part')} already computed")
        try:
            yield Prediction(predictor=predictor, look=look, parts=parts, noun=noun)
        except KeyboardInterrupt:
            reporter.note("`--resume` with the same command resumes from here")
            raise
        finally:
            parts.remove_if_empty()
        parts.remove()


def _describe_job(predictor: LoadedPredictor, request: PredictRequest, look: Look) -> str:
    """Return a checksum of everything that determines the predictions."""
    description = {
        "genomeformer_version": __version__,
        "model_sha256": [weights_sha256(folder) for folder in predictor.folders],
        "precision": "fp32" if request.precision == "auto" else request.precision,
        "head_sha256": [file_sha256(folder / HEAD_FILE) for folder in predictor.folders],
        "task": to_plain(predictor.task),
        "sources": to_plain(request.sources),
        "files": look.identities,
        "tokens_per_batch": request.config.rows.tokens_per_batch,
        "device": str(predictor.answerer.members[0].model.device),
    }
    return hashlib.sha256(json.dumps(description, default=str).encode()).hexdigest()


class _LengthWarning:
    """Warn once of a record far longer than the sequences of the training."""

    def __init__(self, task: SavedTask, reporter: Reporter) -> None:
        self._longest = None if task.targets.is_per_base else task.longest
        self._reporter = reporter

    def check(self, group: Sequence[Query]) -> None:
        """Warn of the first record that is too long."""
        if self._longest is None:
            return
        for query in group:
            if query.codes.size > _FAR_LONGER * self._longest:
                self._reporter.warn(
                    f"`{query.id}` has {query.codes.size:,} bases, the longest training sequence "
                    f"{self._longest:,}: all of it has one prediction; `--tile {self._longest}` "
                    "predicts along it"
                )
                self._longest = None
                return


def predict_queries(
    answerer: Ensemble, queries: Iterable[Query], progress: Callable[[int], None]
) -> Iterator[PredictedRecord]:
    """Yield the prediction of every sequence, in order.

    Args:
        answerer: Models with their heads.
        queries: Sequences.
        progress: Receives the number of bases of each finished batch.
    """
    for group in _groups(iter(queries), _BASES):
        predictions = predict_group(answerer, group, progress)
        for query, answers in zip(group, predictions, strict=True):
            note = query.problem or _note(query.codes, answerer)
            yield PredictedRecord(
                id=query.id, codes=query.codes, answers=answers, note=note, region=query.region
            )


def predict_group(
    answerer: Ensemble, group: Sequence[Query], progress: Callable[[int], None]
) -> list[npt.NDArray[np.float64]]:
    """Return the predictions of sequences, each read by itself or within its stretch."""
    codes = [query.codes for query in group]
    contexts = [query.context for query in group if query.context is not None]
    return answerer.predict(codes, progress, contexts)


def count_notes(notes: Counter[str]) -> RowCount:
    """Return the count of sequences, by the notes of those without an answer.

    Notes of regions are counted by their category, the text before `:`.
    """
    count = RowCount(read=notes.total(), used=notes.total())
    for note in filter(None, notes):
        count = count.without(note.partition(":")[0], notes[note])
    return count


def _note(codes: Codes, answerer: Ensemble) -> str:
    if not codes.size:
        return EMPTY
    if codes.min() == NUM_REAL_BASES:
        return ONLY_N
    return "" if answerer.has_real_token(codes) else NO_TOKEN


def _groups(queries: Iterator[Query], most_bases: int) -> Iterator[Sequence[Query]]:
    """Yield records that are sorted by length together."""
    group: list[Query] = []
    num_bases = 0
    for query in queries:
        group.append(query)
        num_bases += query.codes.size
        if num_bases >= most_bases or len(group) >= _RECORDS:
            yield group
            group, num_bases = [], 0
    if group:
        yield group
