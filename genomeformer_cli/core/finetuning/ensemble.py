"""Ensemble: the mean prediction of several fine-tuned models of one task.

Probabilities are averaged, not logits: the mean of probabilities has at most the mean log loss of
the members. Lakshminarayanan et al. 2017, "Simple and Scalable Predictive Uncertainty Estimation
using Deep Ensembles". Quantities are averaged in their units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.finetuning.inference import (
    Predictor,
    Progress,
    evaluate_predictions,
    ignore_progress,
)
from genomeformer_cli.core.finetuning.labels import LabelSpace
from genomeformer_cli.core.finetuning.losses import to_outputs
from genomeformer_cli.core.finetuning.metrics import Floats, bootstrap_interval
from genomeformer_cli.core.finetuning.run import FinetuningRun
from genomeformer_cli.core.finetuning.splits import TEST, VALIDATION
from genomeformer_cli.core.finetuning.stacking import load_final_model
from genomeformer_cli.core.finetuning.summary import EnsembleResult, SeedResult
from genomeformer_cli.core.formats.sequences import TileContext
from genomeformer_cli.core.sequence import Codes
from genomeformer_cli.core.tokenizers.protocol import has_real_token


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Predictors of one task; one predictor is an ensemble of one."""

    members: tuple[Predictor, ...]

    def has_real_token(self, codes: Codes) -> bool:
        """Return True if every member can read the sequence."""
        return all(has_real_token(member.collator.tokenizer, codes) for member in self.members)

    def predict(
        self,
        codes: Sequence[Codes],
        progress: Progress = ignore_progress,
        contexts: Sequence[TileContext] = (),
    ) -> list[Floats]:
        """Return the mean predictions; NaN where a member has none.

        Args:
            codes: Base codes.
            progress: Receives the number of bases of each finished batch of each member.
            contexts: Stretches in which the sequences are read; empty: each by itself.
        """
        return mean_predictions(
            [
                member.predict(codes, progress, contexts)
                if contexts
                else member.predict_distinct(codes, progress)
                for member in self.members
            ]
        )


def mean_predictions(predictions: Sequence[Sequence[Floats]]) -> list[Floats]:
    """Return the mean over members of the predictions of each sequence."""
    if len(predictions) == 1:
        return list(predictions[0])
    return [np.mean(of_row, axis=0) for of_row in zip(*predictions, strict=True)]


def check_same_labels(spaces: dict[str, LabelSpace]) -> None:
    """Check that models have the same labels in the same order.

    Args:
        spaces: Labels by the name of each model.

    Raises:
        UsageError: Labels differ.
    """
    (first, space), *rest = spaces.items()
    for name, labels in rest:
        if (labels.kind, labels.names) != (space.kind, space.names):
            raise UsageError(
                f"`{name}` and `{first}` have different labels: {labels.kind.value} "
                f"({', '.join(labels.names)}), and {space.kind.value} ({', '.join(space.names)})",
                hint="average models that were fine-tuned on one task",
            )


def evaluate_ensemble(
    finetuning: FinetuningRun, run_folder: Path, results: Sequence[SeedResult]
) -> EnsembleResult | None:
    """Return the score of the mean prediction of several seeds; None for fewer than two.

    Args:
        finetuning: Settings that all seeds share.
        run_folder: Folder of the run.
        results: Results of the seeds.
    """
    if len(results) < 2:
        return None
    rows, space = finetuning.rows, finetuning.task.targets
    predictions: dict[str, list[list[Floats]]] = {VALIDATION: [], TEST: []}
    for result in results:
        model = load_final_model(finetuning, run_folder, result)[0].model
        predictor = finetuning.predictor(model)
        for split, of_members in predictions.items():
            of_members.append(predictor.predict([rows.codes[row] for row in rows.splits[split]]))
    scored = {
        split: evaluate_predictions(
            [to_outputs(space, row) for row in mean_predictions(of_members)],
            rows,
            split,
            finetuning.loss,
        )
        for split, of_members in predictions.items()
    }
    test, means = scored[TEST]
    return EnsembleResult(
        num_members=len(results),
        validation=scored[VALIDATION][0],
        test=test,
        interval=bootstrap_interval(
            space,
            means,
            [rows.targets[row] for row in rows.splits[TEST]],
            finetuning.report_metric,
            seed=finetuning.config.training.seed,
        ),
    )
