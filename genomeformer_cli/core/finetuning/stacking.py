"""Stacking: a fine-tuned model and a small convolutional network, trained apart, then summed.

Their outputs are summed with two weights, not below 0, that fit the validation rows. The network
reads single bases and the model knows genomes: their errors differ. Wolpert 1992, "Stacked
Generalization"; weights not below 0: Breiman 1996, "Stacked Regressions".
Shape letters: N rows, C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from genomeformer_cli.core.configuration import from_plain
from genomeformer_cli.core.documents import read_json
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.finetuning.batches import stack_targets
from genomeformer_cli.core.finetuning.checkpoint import SavedTask
from genomeformer_cli.core.finetuning.head import get_head
from genomeformer_cli.core.finetuning.inference import evaluate_predictions
from genomeformer_cli.core.finetuning.losses import Loss
from genomeformer_cli.core.finetuning.metrics import bootstrap_interval
from genomeformer_cli.core.finetuning.network_training import NetworkTraining
from genomeformer_cli.core.finetuning.run import FinetuningRun, load_best_model
from genomeformer_cli.core.finetuning.splits import TEST, VALIDATION
from genomeformer_cli.core.finetuning.summary import PRETRAINED, SeedResult, StackedResult
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.reporting import Reporter, SilentReporter
from genomeformer_cli.core.store.results import check_result, write_result

_FOLDER = "networks"
# Strength of the pull of the weights towards their mean, in rows: decides where few rows cannot.
_PRIOR = 1.0
_MAX_ITERATIONS = 100


def prepare_network(finetuning: FinetuningRun, run: Path, seed: int) -> NetworkTraining:
    """Return the training of the network of a seed, which is saved in the run.

    Raises:
        ConfigError: The task has labels of bases.
    """
    if finetuning.task.targets.is_per_base:
        raise ConfigError(
            "the network pools over rows and cannot predict labels of bases",
            hint="`--set network=off`",
        )
    return NetworkTraining(
        rows=finetuning.rows,
        loss=finetuning.loss,
        both_strands=finetuning.config.tuning.strands != "given",
        metric=finetuning.config.tuning.metric,
        seed=seed,
        device=finetuning.device,
        folder=run / _FOLDER / f"seed-{seed}",
    )


def stack_seed(
    finetuning: FinetuningRun, run: Path, result: SeedResult, reporter: Reporter
) -> StackedResult:
    """Train the network of a seed and stack it; return the stored result of a finished one.

    Args:
        finetuning: Settings that all seeds share.
        run: Folder of the run.
        result: Result of the model of the seed.
        reporter: Receives progress.

    Raises:
        ConfigError: The task has labels of bases.
        CorruptError: A stored result is damaged.
    """
    path = run / _FOLDER / f"stacked-seed-{result.seed}.json"
    if path.is_file():
        check_result(path)
        return from_plain(StackedResult, read_json(path), where=str(path))
    training = prepare_network(finetuning, run, result.seed)
    network = training.load_or_fit(reporter)
    predictor = finetuning.predictor(load_best_model(finetuning, run, result).model)
    rows, loss = finetuning.rows, finetuning.loss
    outputs_of: dict[str, Tensor] = {}
    for split in (VALIDATION, TEST):
        codes = [rows.codes[row] for row in rows.splits[split]]
        model_NC = torch.cat(predictor.outputs(codes))
        outputs_of[split] = torch.stack((model_NC, network.outputs(codes)))
    targets_of = {
        split: [rows.targets[row] for row in rows.splits[split]] for split in (VALIDATION, TEST)
    }
    targets = stack_targets(finetuning.task.targets, targets_of[VALIDATION])
    weights_2 = fit_weights(loss, outputs_of[VALIDATION], targets)
    (validation, _), (test, predictions) = (
        evaluate_predictions(
            list((weights_2[:, None, None] * outputs_2NC).sum(dim=0)[:, None]), rows, split, loss
        )
        for split, outputs_2NC in outputs_of.items()
    )
    stacked = StackedResult(
        seed=result.seed,
        weights=(float(weights_2[0]), float(weights_2[1])),
        network=training.evaluate(network, TEST)[0],
        validation=validation,
        test=test,
        interval=bootstrap_interval(
            finetuning.task.targets,
            predictions,
            targets_of[TEST],
            finetuning.report_metric,
            seed=result.seed,
        ),
    )
    write_result(path, asdict(stacked))
    return stacked


def stack_seeds(
    finetuning: FinetuningRun, run: Path, results: Sequence[SeedResult], reporter: Reporter
) -> tuple[StackedResult, ...]:
    """Stack a network on the model of every seed from pretrained weights, if it is configured."""
    if finetuning.config.network == "off":
        return ()
    return tuple(
        stack_seed(finetuning, run, result, reporter)
        for result in results
        if result.origin == PRETRAINED
    )


def fit_weights(loss: Loss, outputs_2NC: Tensor, targets_N: Tensor) -> Tensor:
    """Return the weights, not below 0, of two models whose weighted sum has the least loss.

    A penalty on the distance from their mean decides where few rows cannot.

    Args:
        loss: Loss of the task.
        outputs_2NC: Outputs of both models for the same rows.
        targets_N: Labels of the rows.
    """
    from scipy.optimize import minimize

    outputs_2NC = outputs_2NC.double()
    if targets_N.is_floating_point():
        targets_N = targets_N.double()

    def value_and_gradient(weights: Sequence[float]) -> tuple[float, list[float]]:
        weights_2 = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
        summed_NC = (weights_2[:, None, None] * outputs_2NC).sum(dim=0)
        penalty = _PRIOR * (weights_2 - 0.5).square().sum()
        total = loss.total(summed_NC, targets_N) + penalty
        (gradient_2,) = torch.autograd.grad(total, weights_2)
        return total.item(), gradient_2.tolist()

    minimum = minimize(
        value_and_gradient,
        [0.5, 0.5],
        jac=True,
        bounds=[(0, None)] * 2,
        method="L-BFGS-B",
        options={"maxiter": _MAX_ITERATIONS},
    )
    return torch.tensor(minimum.x, dtype=torch.float32)


def load_final_model(
    finetuning: FinetuningRun, run: Path, result: SeedResult
) -> tuple[LoadedModel, SavedTask]:
    """Load the selected weights of a seed and the task, with the network if it is stacked."""
    loaded, task = load_best_model(finetuning, run, result), finetuning.task
    if finetuning.config.network == "off":
        return loaded, task
    stacked = stack_seed(finetuning, run, result, SilentReporter())
    training = prepare_network(finetuning, run, result.seed)
    network = training.load_or_fit(SilentReporter())
    get_head(loaded.model).stack(network, torch.tensor(stacked.weights))
    return loaded, replace(task, network=training.options)
