"""A network is stacked on a model: weights by other solvers, a saved bundle, stored results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.finetuning import network_training
from genomeformer_cli.core.finetuning.checkpoint import read_finetuned, write_finetuned
from genomeformer_cli.core.finetuning.config import FinetuneConfig
from genomeformer_cli.core.finetuning.head import get_head
from genomeformer_cli.core.finetuning.labels import LabelSpace, TaskKind
from genomeformer_cli.core.finetuning.losses import Loss
from genomeformer_cli.core.finetuning.network_training import NetworkTraining
from genomeformer_cli.core.finetuning.run import load_best_model, train_seed
from genomeformer_cli.core.finetuning.stacking import (
    fit_weights,
    load_final_model,
    prepare_network,
    stack_seed,
)
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.seal import seal
from tests.unit.core.finetuning.test_run import base, tuning_of

__all__ = ["base"]


@pytest.mark.parametrize("seed", range(4))
def test_weights_of_numbers_are_those_of_non_negative_least_squares(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    space = LabelSpace(kind=TaskKind.REGRESSION, names=("a", "b", "c"))
    outputs_2NC = torch.randn(2, 9, 3, generator=random, dtype=torch.float64)
    # With odd seeds, one model is worse than none.
    mixed_NC = torch.einsum("k,knc->nc", torch.tensor([0.8, 0.5 - seed % 2]).double(), outputs_2NC)
    targets_NC = mixed_NC + 0.1 * torch.randn(9, 3, generator=random, dtype=torch.float64)
    found = fit_weights(Loss(label_space=space, weights=(1.0,) * 3), outputs_2NC, targets_NC)
    # The penalty is two more equations: each weight is a half.
    matrix = np.concatenate((outputs_2NC.reshape(2, -1).T.numpy(), np.eye(2)))
    expected, _ = nnls(matrix, np.concatenate((targets_NC.ravel().numpy(), [0.5, 0.5])))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    assert (found == 0).any() == (seed % 2 == 1)


@pytest.mark.parametrize("kind", [TaskKind.CLASSIFICATION, TaskKind.MULTI_LABEL])
def test_no_other_weights_have_less_loss(kind: TaskKind) -> None:
    random = torch.Generator().manual_seed(3)
    space = LabelSpace(kind=kind, names=("a", "b", "c"))
    loss = Loss(label_space=space, weights=(1.0, 2.0, 1.0))
    outputs_2NC = torch.randn(2, 40, 3, generator=random, dtype=torch.float64)
    likely_NC = outputs_2NC[0] * 2 + outputs_2NC[1]
    targets = likely_NC.argmax(dim=1)
    if kind is TaskKind.MULTI_LABEL:
        targets = (likely_NC + torch.randn(40, 3, generator=random) > 0).double()

    def total(weights_2: torch.Tensor) -> float:
        summed_NC = (weights_2[:, None, None] * outputs_2NC).sum(dim=0)
        return float(loss.total(summed_NC, targets) + (weights_2 - 0.5).square().sum())

    least = total(fit_weights(loss, outputs_2NC, targets).double())
    grid = torch.cartesian_prod(*[torch.linspace(0, 12, 61, dtype=torch.float64)] * 2)
    assert least <= min(total(weights_2) for weights_2 in grid) + 1e-6


def test_a_stacked_model_is_stored_saved_and_predicts_the_weighted_sum(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_training, "NUM_FILTERS", 8)
    tuning = tuning_of(base, {"training": {"steps": 6}, "network": "on"})
    run = tmp_path / "run"
    result = train_seed(tuning, run, "pretrained", 0, SilentReporter())
    stacked = stack_seed(tuning, run, result, SilentReporter())
    monkeypatch.setattr(NetworkTraining, "fit", None)
    assert stack_seed(tuning, run, result, SilentReporter()) == stacked, "stored"
    codes = [tuning.rows.codes[row] for row in tuning.rows.splits["test"]]
    network = prepare_network(tuning, run, 0).load_or_fit(SilentReporter())
    alone = load_best_model(tuning, run, result)
    outputs_NC = torch.cat(tuning.predictor(alone.model).outputs(codes))
    by_hand_NC = stacked.weights[0] * outputs_NC + stacked.weights[1] * network.outputs(codes)
    final = load_final_model(tuning, run, result)
    folder = tmp_path / "bundle"
    folder.mkdir()
    write_finetuned(*final, folder)
    seal(folder)
    for loaded, task in (final, read_finetuned(folder)):
        predictor = task.predictor(loaded.model, loaded.tokenizer, 64)
        torch.testing.assert_close(torch.cat(predictor.outputs(codes)), by_hand_NC)
    score = predictor.evaluate(tuning.rows, "test", tuning.loss)[0]
    assert score.loss == pytest.approx(stacked.test.loss, rel=1e-5)
    stacked_network = get_head(final[0].model).network
    assert stacked_network is not None
    assert not any(parameter.requires_grad for parameter in stacked_network.parameters())
    without = replace(tuning, config=replace(tuning.config, network="off"))
    assert get_head(load_final_model(without, run, result)[0].model).network is None


def test_labels_of_bases_have_no_network(base: Path, tmp_path: Path) -> None:
    tuning = tuning_of(base, {"network": "on"})
    per_base = LabelSpace(kind=TaskKind.PER_BASE, names=("a", "b"))
    tuning = replace(tuning, task=replace(tuning.task, targets=per_base))
    chosen = [FinetuneConfig().choose_network(per_base=per_base) for per_base in (True, False)]
    assert chosen == ["off", "on"]
    with pytest.raises(ConfigError, match="labels of bases"):
        prepare_network(tuning, tmp_path, 0)
