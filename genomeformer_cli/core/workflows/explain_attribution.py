"""Attribute the answer of a model to the bases of sequences."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from genomeformer_cli.core.errors import ConfigError, UsageError
from genomeformer_cli.core.evaluation.base_likelihood import check_scorable, check_single_bases
from genomeformer_cli.core.explanation.attribution import (
    Answer,
    Attribution,
    BaseAnswer,
    Method,
    TaskAnswer,
    attribute_all,
    check_task,
)
from genomeformer_cli.core.explanation.dependencies import check_length
from genomeformer_cli.core.finetuning.checkpoint import SavedTask, read_finetuned
from genomeformer_cli.core.finetuning.tracks import PlacedPrediction, central_pieces
from genomeformer_cli.core.formats.npz import npz_archive, write_array, write_texts
from genomeformer_cli.core.formats.region import Region
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.formats.tracks.elements import Chromosome, binned
from genomeformer_cli.core.formats.tracks.files import TrackHead, check_chromosomes, write_scores
from genomeformer_cli.core.model_io.bundle_layout import HEAD_FILE
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.devices import choose_device, set_threads
from genomeformer_cli.core.workflows.explain import ExplainRequest
from genomeformer_cli.core.workflows.sources import Look, records_text

_TOKENS_PER_BATCH = 16_384
_RECORDS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class AttributedRecord:
    """Record with its attributions."""

    id: str  # Id of the record.
    codes: Codes  # Base codes.
    attribution: Attribution | None  # None without a base.
    region: Region | None = None  # Place on a genome; None for a whole record.


@dataclass(frozen=True)
class Explainer:
    """Loaded model, and the number of it that is explained."""

    loaded: LoadedModel
    answer_of: Callable[[str, Codes], Answer]  # Answer for a sequence of an id.


@dataclass(frozen=True)
class TaskExplainer(Explainer):
    """Fine-tuned model, and the output that is explained."""

    task: SavedTask
    index: int  # Index of the output.

    def answer_with(self, model: Model) -> TaskAnswer:
        """Return this output of another model with a head for the same task."""
        predictor = self.task.predictor(model, self.loaded.tokenizer, _TOKENS_PER_BATCH)
        return TaskAnswer(predictor, self.index)


def load_answer(
    request: ExplainRequest,
    method: Method,
    target: str | None,
    *,
    reporter: Reporter,
    store: Store | None = None,
) -> Explainer:
    """Load a model onto its device, and select the number that is explained.

    Args:
        request: Model and device.
        method: Method of attribution.
        target: Class, label or quantity of a fine-tuned model; None: the last one. Otherwise the
            position of a base, from 1.
        reporter: Receives the choice.
        store: Cache.

    Raises:
        NotInCacheError, CheckpointError, CorruptError: The model cannot be loaded.
        ConfigError: The model does not give the number, or no gradients of it.
        UsageError: The target is missing or unknown.
    """
    set_threads(request.workers)
    folder = model_folder(request.model, store=store or Store(), reporter=reporter)
    device = choose_device(request.device, reporter)
    if not (folder / HEAD_FILE).is_file():
        loaded = read_model(folder)
        loaded.model.to(device)
        return Explainer(loaded, _base_answer(loaded, target, request.every, method))
    loaded, task = read_finetuned(folder)
    loaded.model.to(device)
    check_task(task.targets)
    names = task.targets.names
    if target is not None and target not in names:
        raise UsageError(
            f"unknown target `{target}`", hint="give one of " + ", ".join(f"`{n}`" for n in names)
        )
    index = len(names) - 1 if target is None else names.index(target)
    predictor = task.predictor(loaded.model, loaded.tokenizer, _TOKENS_PER_BATCH)
    answer = TaskAnswer(predictor, index)
    reporter.note(f"explaining `{names[index]}`")
    if method is not Method.ISM:
        answer.check_gradients()
    return TaskExplainer(loaded, lambda identifier, codes: answer, task, index)


def _base_answer(
    loaded: LoadedModel, target: str | None, every: int, method: Method
) -> Callable[[str, Codes], Answer]:
    """Return the function that selects the predicted base of a sequence."""
    check_scorable(loaded)
    check_single_bases(loaded)
    if target is None or not target.isdecimal() or int(target) < 1:
        raise UsageError(
            "the model was not fine-tuned, and `--answer` names no base",
            hint="give the position of a base, such as `--answer 35`, or a fine-tuned model",
        )
    place = int(target) - 1
    first = 1 if objective_for(loaded.model.config.direction).is_causal else 0
    if place < first:
        raise UsageError("a causal model does not predict the first base", hint="give `--answer 2`")
    if method is not Method.ISM:
        BaseAnswer(loaded, place, 0, every).check_gradients()

    def answer_of(identifier: str, codes: Codes) -> Answer:
        check_length(loaded, identifier, codes)
        if place >= codes.size or codes[place] >= NUM_REAL_BASES:
            raise ConfigError(
                f"`{identifier}` has no base at position {place + 1}",
                hint="give a position of all sequences",
            )
        return BaseAnswer(loaded, place, int(codes[place]), every)

    return answer_of


def attribute_records(
    explainer: Explainer, look: Look, method: Method, reporter: Reporter, noun: str = "record"
) -> Iterator[AttributedRecord]:
    """Yield every sequence with its attributions, in input order; report those without.

    Raises:
        ConfigError: A sequence is too long, or has no base at the target.
    """
    num_records = num_bases = num_without = 0
    with reporter.track("attributing", look.num_bases, "bases") as tracker:
        for query, record in attributed_queries(explainer, look, method, tracker.advance):
            num_records, num_bases = num_records + 1, num_bases + record.codes.size
            if record.attribution is None:
                num_without += 1
                kind = "record" if record.region is None else "region"
                reason = query.problem or "no base"
                reporter.warn(f"{kind} `{record.id}` is without attributions: {reason}")
            yield record
    reporter.note(records_text(num_records, num_bases, num_without, noun))


def attributed_queries(
    explainer: Explainer, look: Look, method: Method, progress: Callable[[int], None]
) -> Iterator[tuple[Query, AttributedRecord]]:
    """Yield every sequence and its attributions, a group of sequences at a time in memory."""
    stream = look.read()
    while queries := list(islice(stream, _RECORDS_AT_ONCE)):
        subjects = [query for query in queries if (query.codes < NUM_REAL_BASES).any()]
        answers = [explainer.answer_of(query.id, query.codes) for query in subjects]
        rows = [query.codes for query in subjects]
        attributions = iter(attribute_all(answers, rows, method, progress))
        for query in queries:
            attribution = None
            if (query.codes < NUM_REAL_BASES).any():
                attribution = next(attributions)
            else:
                progress(query.codes.size)
            yield (
                query,
                AttributedRecord(
                    id=query.id, codes=query.codes, attribution=attribution, region=query.region
                ),
            )


def write_attribution_track(
    records: Iterable[AttributedRecord], path: Path, look: Look, *, title: str
) -> Generator[AttributedRecord, None, bool]:
    """Write the attributions along a genome as a track while passing the records on.

    The track is written from a temporary file of the attributions, after the last record.

    Args:
        records: Records or tiles; a base of several tiles counts in the one whose centre is
            nearest.
        path: bedGraph or bigWig file.
        look: Sequences of the records.
        title: Name of the track.

    Raises:
        InputError: Two records share an id.
        StoreError: The file cannot be written.
    """
    chromosomes = [Chromosome(name=row.id, length=row.codes.size) for row in look.records()]
    check_chromosomes(chromosomes, ", ".join(file.display_name for file, _ in look.files))
    with TemporaryFile() as values:
        for record in records:
            attribution = record.attribution
            base_L = np.full(record.codes.size, np.nan)
            values.write((base_L if attribution is None else attribution.base_L).tobytes())
            yield record
        values.seek(0)
        placed = (
            PlacedPrediction(
                place=query.region or Region(chrom=query.id, start=0, end=query.codes.size),
                values=np.frombuffer(values.read(8 * query.codes.size))[:, None],
            )
            for query in look.read()
        )
        spans = (
            binned(piece.place.chrom, piece.values[:, 0], 1, first=piece.place.start)
            for piece in central_pieces(placed, per_base=True)
        )
        write_scores(spans, path, TrackHead(title=title, chromosomes=chromosomes))
    return True


def write_attributions(
    records: Iterable[AttributedRecord], path: Path
) -> Generator[AttributedRecord, None, bool]:
    """Write `.npz` while passing the records on: `base_0`, `effect_0`, ..., `ids`, `values`.

    Raises:
        StoreError: The file cannot be written.
    """
    ids, values = [], []
    with npz_archive(path) as archive:
        for number, record in enumerate(records):
            ids.append(record.id)
            attribution = record.attribution
            values.append(np.nan if attribution is None else attribution.value)
            if attribution is not None:
                write_array(archive, f"base_{number}", attribution.base_L)
                write_array(archive, f"effect_{number}", attribution.effect_LR)
            yield record
        write_texts(archive, "ids", ids)
        write_array(archive, "values", np.array(values))
    return True
