"""The bundle of a fine-tuned model: laid out as any other, with its head; and its card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genomeformer_cli._version import __version__
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.evaluation.token_scores import Interval
from genomeformer_cli.core.finetuning.checkpoint import SavedTask, read_finetuned, write_finetuned
from genomeformer_cli.core.finetuning.config import FinetuneConfig, TuningConfig
from genomeformer_cli.core.finetuning.splits import TEST, TRAIN, VALIDATION
from genomeformer_cli.core.finetuning.summary import PRETRAINED, SCRATCH, TunedSummary, spread
from genomeformer_cli.core.model_io.bundle_layout import CARD_FILE, RESULTS_FILE, TRAIN_CONFIG_FILE
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.sequence import Codes
from genomeformer_cli.core.store.atomic import write_text
from genomeformer_cli.core.store.seal import seal

_MOST_DIFFERENT = 1e-5


def write_tuned_bundle(
    folder: Path,
    tuned: tuple[LoadedModel, SavedTask],
    *,
    card: str,
    results: object,
    train_config: str,
) -> None:
    """Lay out a bundle in an empty folder and seal it.

    Args:
        folder: Empty.
        tuned: The model, with its head, and what it answers.
        card: Text of the card.
        results: Plain values for `eval_results.json`.
        train_config: Text of the configuration.
    """
    loaded, task = tuned
    write_finetuned(loaded.model, loaded.tokenizer, task, folder)
    write_text(folder / CARD_FILE, card)
    write_text(folder / RESULTS_FILE, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    write_text(folder / TRAIN_CONFIG_FILE, train_config)
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
    found = []
    for loaded, task in (tuned, read_finetuned(folder)):
        answerer = task.answerer(loaded.model.to(device), loaded.tokenizer, 4_096)
        found.append(np.concatenate(answerer.answers(codes)))
    scale = max(1.0, float(np.abs(found[0]).max()))
    difference = float(np.abs(found[0] - found[1]).max()) / scale
    if not difference <= _MOST_DIFFERENT:
        raise CheckpointError(
            f"the bundle's answers differ from the run's by {difference:g}",
            hint="this should not happen; please report it",
        )
    return difference


def write_tuned_card(summary: TunedSummary, config: FinetuneConfig, task: SavedTask) -> str:
    """The card's text; every number comes from the run."""
    sections = [
        _opening(summary),
        _usage(summary, task),
        _results(summary),
        _procedure(summary, config),
        _limits(summary),
    ]
    return "\n".join(sections)


def _opening(summary: TunedSummary) -> str:
    return f"""---
license: apache-2.0
library_name: genomeformer
pipeline_tag: text-classification
language: dna
tags:
- biology
- DNA
- genomics
model_name: {summary.name}
---

# {summary.name}

`{summary.base}` fine-tuned on the task `{summary.task}` ({summary.kind}:
{_listed(summary.classes)}). {summary.num_parameters:,} parameters. Released with genomeformer
{__version__}.
"""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(f"`{name}`" for name in names[:20]) + more


def _usage(summary: TunedSummary, task: SavedTask) -> str:
    return f"""## Use

    pip install genomeformer
    genomeformer predict sequences.fa --model {summary.name} > answers.tsv

`--model` also takes this folder, and `genomeformer embed` takes it as any other model. Longer
sequences are read in windows of {task.window:,} tokens.
"""


def _range(found: Interval) -> str:
    return f"{found.low:.4f} to {found.high:.4f}" if found.known else "-"


def _results(summary: TunedSummary) -> str:
    chosen = summary.chosen
    lines = [
        f"| {one.origin} | {one.seed} | {_measures(one.test.measures)} | {_range(one.interval)} | "
        f"{one.best_step} of {one.steps} |"
        for one in summary.results
    ]
    if summary.linear is not None:
        test, interval = summary.linear.test, summary.linear.interval
        lines.insert(
            0,
            f"| linear model alone | | {_measures(test.measures)} | {_range(interval)} | |",
        )
    told = []
    for origin in (PRETRAINED, SCRATCH):
        values = [one.test.measures.get(summary.reported, 0.0) for one in summary.of(origin)]
        if values:
            mean, deviation = spread(values)
            seeds = f"{len(values)} seed{'s' if len(values) > 1 else ''}"
            told.append(
                f"From {origin} weights, {seeds}: {summary.reported} {mean:.4f} "
                f"(standard deviation {deviation:.4f})."
            )
    split = "the file's own" if summary.official_split else "drawn"
    told_of_all = "\n".join(told)
    table = "\n".join(lines)
    return f"""## Results

{summary.num_rows[TEST]:,} test rows, {summary.num_rows[TRAIN]:,} to learn from,
{summary.num_rows[VALIDATION]:,} to choose on; the split is {split}. Intervals of
{summary.reported} are of a bootstrap over test rows. The weights here are those of seed
{chosen.seed}, chosen on validation.

| weights | seed | on the test rows | 95 % of {summary.reported} | step kept |
|---|---|---|---|---|
{table}

{told_of_all}
"""


def _measures(measures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in measures.items())


def _procedure(summary: TunedSummary, config: FinetuneConfig) -> str:
    tuning, training = config.tuning, config.training
    environment = ", ".join(f"{key} {value}" for key, value in summary.environment.items())
    rank = f", rank {tuning.rank}, alpha {tuning.alpha:g}" if tuning.method == "lora" else ""
    linear = _linear(tuning)
    return f"""## Procedure

- method: `{tuning.method}`{rank}; {summary.chosen.num_trained:,} numbers trained; pooling
  `{tuning.pool}`; strands: `{tuning.strands}`; class weights: `{tuning.class_weights}`
{linear}- at most {config.epochs:g} epochs ({training.steps:,} steps of {training.batch_size} rows),
  peak learning rate {training.learning_rate:g}, the head's {tuning.head_rate:g} times that
- the weights that did best on validation by `{summary.metric}` are kept
- weights it began from: SHA-256 `{summary.base_sha256}`
- {environment}

The whole configuration is in `train_config.toml`, every number in `eval_results.json`.
"""


def _linear(tuning: TuningConfig) -> str:
    if tuning.linear == "none":
        return ""
    what = {
        "kmers": f"words of {tuning.kmer} bases",
        "places": "pairs of bases in their places",
        "both": f"words of {tuning.kmer} bases and pairs of bases in their places",
    }[tuning.linear]
    return f"- a linear model of {what}, fitted first; its outputs are added to the head's\n"


def _limits(summary: TunedSummary) -> str:
    return f"""## Limits

It answers for sequences like those it was trained on: the rows of `{summary.task}`. It is a tool
for research on sequences, and no answer of it is medical advice.
"""
