"""Bundle of a fine-tuned model, with its head, and its card."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genomeformer_cli._version import __version__
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.evaluation.token_scores import ConfidenceInterval
from genomeformer_cli.core.finetuning.checkpoint import SavedTask, read_finetuned, write_finetuned
from genomeformer_cli.core.finetuning.config import FinetuneConfig
from genomeformer_cli.core.finetuning.splits import TEST, TRAIN, VALIDATION
from genomeformer_cli.core.finetuning.summary import (
    PRETRAINED,
    SCRATCH,
    FinetuneSummary,
    mean_and_deviation,
)
from genomeformer_cli.core.model_io.bundle_layout import (
    CARD_FILE,
    LICENCE_FILE,
    RESULTS_FILE,
    TRAIN_CONFIG_FILE,
)
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.release.derived_licence import (
    licence_head,
    licence_section,
)
from genomeformer_cli.core.sequence import Codes
from genomeformer_cli.core.store.atomic import write_text
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tables import Table
from genomeformer_cli.core.templates import render_template

_MOST_DIFFERENT = 1e-5
_MISSING = "-"


@dataclass(frozen=True, kw_only=True)
class TunedTexts:
    """Texts of the bundle of a fine-tuned model."""

    card: str  # Model card.
    train_config: str  # Configuration.
    licence: str  # Contents of `LICENSE`.


def write_tuned_bundle(
    folder: Path,
    tuned: tuple[LoadedModel, SavedTask],
    summary: FinetuneSummary,
    texts: TunedTexts,
) -> None:
    """Lay out a bundle in an empty folder and seal it.

    Args:
        folder: Empty folder.
        tuned: Model with its head, and its task.
        summary: Results, for `eval_results.json`.
        texts: Card, configuration and licence.
    """
    loaded, task = tuned
    write_finetuned(loaded, task, folder, base=summary.base_model)
    results = json.dumps(dataclasses.asdict(summary), indent=2, ensure_ascii=False)
    write_text(folder / CARD_FILE, texts.card)
    write_text(folder / RESULTS_FILE, results + "\n")
    write_text(folder / TRAIN_CONFIG_FILE, texts.train_config)
    write_text(folder / LICENCE_FILE, texts.licence)
    seal(folder)


def verify_tuned_bundle(
    folder: Path, tuned: tuple[LoadedModel, SavedTask], codes: Sequence[Codes]
) -> float:
    """Load a bundle back and compare its answers with the original's.

    Returns:
        The largest difference.

    Raises:
        CorruptError: A file does not match its checksum.
        CheckpointError: The answers differ.
    """
    device = tuned[0].model.device
    outputs = []
    for loaded, task in (tuned, read_finetuned(folder)):
        answerer = task.predictor(loaded.model.to(device), loaded.tokenizer, 4_096)
        outputs.append(np.concatenate(answerer.predict(codes)))
    scale = max(1.0, float(np.abs(outputs[0]).max()))
    difference = float(np.abs(outputs[0] - outputs[1]).max()) / scale
    if not difference <= _MOST_DIFFERENT:
        raise CheckpointError(
            f"the predictions of the bundle differ from those of the run by {difference:g}",
            hint="this should not happen; please report it",
        )
    return difference


def write_tuned_card(summary: FinetuneSummary, config: FinetuneConfig, task: SavedTask) -> str:
    """Return the text of the card, from `assets/templates/finetuned_card.md.j2`."""
    base = summary.base_model
    return render_template(
        "finetuned_card.md",
        summary=summary,
        base=base,
        licence_head=licence_head(summary.licence),
        licence_section=licence_section(base),
        config=config,
        tuning=config.tuning,
        training=config.training,
        window=task.window,
        num_train=summary.num_rows[TRAIN],
        num_validation=summary.num_rows[VALIDATION],
        num_test=summary.num_rows[TEST],
        table=_results_table(summary),
        seeds=list(_seed_spread(summary)),
        version=__version__,
    )


def _results_table(summary: FinetuneSummary) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            result.origin,
            str(result.seed),
            _measures(result.test.measures),
            _bounds(result.interval),
            f"{result.best_step} of {result.steps}",
        )
        for result in summary.results
    ]
    for stacked in summary.stacked:
        seed, bounds = str(stacked.seed), _bounds(stacked.interval)
        alone = ("network alone", seed, _measures(stacked.network.measures), _MISSING, _MISSING)
        summed = ("with the network", seed, _measures(stacked.test.measures), bounds, _MISSING)
        rows += [alone, summed]
    if summary.ensemble is not None:
        number, result = f"all {summary.ensemble.num_members}", summary.ensemble
        scores = (_measures(result.test.measures), _bounds(result.interval))
        rows.append(("mean of the seeds", number, *scores, _MISSING))
    if summary.linear is not None:
        measures = _measures(summary.linear.test.measures)
        bounds = _bounds(summary.linear.interval)
        rows.insert(0, ("linear model alone", _MISSING, measures, bounds, _MISSING))
    strongest = summary.strongest_baseline
    for baseline in reversed(summary.baselines):
        name = f"{baseline.name} (strongest by validation)"
        row = name if baseline is strongest else baseline.name
        scores = (_measures(baseline.test.measures), _bounds(baseline.interval))
        rows.insert(0, (row, _MISSING, *scores, _MISSING))
    return Table(
        headings=("weights", "seed", "test rows", f"95 % of {summary.reported}", "step kept"),
        rows=tuple(rows),
    )


def _bounds(interval: ConfidenceInterval) -> str:
    return f"{interval.low:.4f} to {interval.high:.4f}" if interval.is_known else _MISSING


def _measures(measures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in measures.items())


def _seed_spread(summary: FinetuneSummary) -> Iterator[tuple[str, int, float, float]]:
    """Return origin, number of seeds, mean and deviation of the reported measure."""
    for origin in (PRETRAINED, SCRATCH):
        values = [
            result.test.measures.get(summary.reported, 0.0)
            for result in summary.from_origin(origin)
        ]
        if values:
            yield (origin, len(values), *mean_and_deviation(values))
