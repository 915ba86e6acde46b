"""Adaptation: training rows alone, resumed to the bit, and where fine-tuning starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.finetuning import adaptation
from genomeformer_cli.core.finetuning.adaptation import RowBatches, adapt
from genomeformer_cli.core.finetuning.config import FinetuneConfig
from genomeformer_cli.core.finetuning.run import train_seed
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.training.metrics import read_rows
from genomeformer_cli.core.training.task import PretrainingTask
from tests.unit.core.finetuning.test_run import KilledError, base, tuning_of

__all__ = ["base"]


def weights(folder: Path) -> list[torch.Tensor]:
    return list(read_model(folder).model.state_dict().values())


def test_a_killed_adaptation_resumes_to_the_same_bits(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = {"steps": 2, "validate_every": 2}
    tuning = tuning_of(base, {"adapt": 1.5, "adapt_rate": 3e-3, "training": training})
    whole = adapt(tuning, tmp_path / "whole", SilentReporter())
    gradients, left = PretrainingTask.gradients, [8]

    def killed(self: PretrainingTask, *given: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            raise KilledError
        return gradients(self, *given)

    monkeypatch.setattr(PretrainingTask, "gradients", killed)
    with pytest.raises(KilledError):
        adapt(tuning, tmp_path / "stopped", SilentReporter())
    again = adapt(tuning, tmp_path / "stopped", SilentReporter())
    assert whole.adapted is not None
    assert again.adapted is not None
    pairs = zip(weights(whole.adapted), weights(again.adapted), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    pairs = zip(weights(base), weights(whole.adapted), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)
    rows = list(read_rows(tmp_path / "whole" / "adaptation" / "metrics.jsonl"))
    assert rows[-1]["step"] == int(np.ceil(1.5 * np.ceil(tuning.rows.splits["train"].size / 8)))
    scores = [row["validation"]["bits_per_base"] for row in rows if "validation" in row]
    assert scores[-1] < scores[0]
    # Adapted weights are read, not trained again; the first step starts from them.
    monkeypatch.setattr(adaptation, "_train", None)
    start = adapt(tuning, tmp_path / "whole", SilentReporter())
    one, other = (
        train_seed(run, tmp_path / name, "pretrained", 0, SilentReporter())
        for name, run in (("adapted", start), ("plain", replace(start, adapted=None)))
    )
    assert one.validation.loss != other.validation.loss


def test_only_training_rows_are_read(base: Path) -> None:
    tuning = tuning_of(base, {})
    rows = tuning.rows
    codes = [rows.codes[row] for row in rows.splits["train"]]
    loaded = read_model(base)
    batches = RowBatches(loaded, codes, batch_size=8, seed=1)
    one, again = batches.make(3), batches.make(3)
    assert torch.equal(one.examples.inputs_BL, again.examples.inputs_BL)
    # 48 tokens of context; longer rows are cut.
    per_epoch = int(np.ceil(len(codes) / 8))
    assert sum(batches.make(step).num_bases for step in range(per_epoch)) == sum(
        min(row.size, 48) for row in codes
    )


def test_bad_settings_and_no_adaptation(base: Path, tmp_path: Path) -> None:
    tuning = tuning_of(base, {})
    assert adapt(tuning, tmp_path, SilentReporter()) is tuning
    with pytest.raises(ConfigError, match="`adapt` cannot be -1"):
        FinetuneConfig(adapt=-1.0)
    with pytest.raises(ConfigError, match="adapt_rate"):
        FinetuneConfig(adapt_rate=0.0)
