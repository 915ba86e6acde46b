"""Features of a frozen encoder: computed once, and equal to those of every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genomeformer_cli.core.finetuning import frozen_features as module
from genomeformer_cli.core.finetuning.collate import Collator, FrozenFeatures
from genomeformer_cli.core.finetuning.frozen_features import features_of_training
from genomeformer_cli.core.finetuning.head import attach_head, get_head, position_features
from genomeformer_cli.core.finetuning.run import train_seed
from genomeformer_cli.core.model_io.model_folder import write_model
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.sequence import reverse_complement_codes
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from tests.reporters import Listening
from tests.unit.core.finetuning.test_run import MODEL, examples, overlaid, rows_of, tuning_of

FROZEN: dict[str, Any] = {"tuning": {"method": "head"}}
STRANDS = ("given", "augment", "average")


def make_base(folder: Path) -> Path:
    folder.mkdir()
    write_model(build_model(MODEL, seed=1), CharTokenizer(), folder)
    seal(folder)
    return folder


def compute(base: Path, dials: dict[str, Any]) -> FrozenFeatures | None:
    tuning = tuning_of(base, dials)
    model = build_model(MODEL, seed=1).eval()
    attach_head(model, tuning.task.build_head(model))
    collator = tuning.predictor(model).collator
    return features_of_training(model, collator, tuning.rows, tuning.config, Listening())


@pytest.mark.parametrize("strands", STRANDS)
def test_training_on_stored_features_is_training_on_the_models(
    strands: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_base(tmp_path / "base")
    dials = overlaid(FROZEN, {"tuning": {"strands": strands}, "training": {"steps": 30}})
    tuning = tuning_of(base, dials)
    calls = [0]
    hidden = Encoder.hidden

    def counted(self: Encoder, *given: Any, **options: Any) -> Any:
        calls[0] += 1
        return hidden(self, *given, **options)

    monkeypatch.setattr(Encoder, "hidden", counted)
    stored = train_seed(tuning, tmp_path / "stored", "pretrained", 3, Listening())
    num_stored, calls[0] = calls[0], 0
    monkeypatch.setattr(module, "MOST_BYTES", 0)
    messages = Listening()
    computed = train_seed(tuning, tmp_path / "computed", "pretrained", 3, messages)
    assert num_stored * 3 < calls[0]
    assert any("every step computes its own" in note for note in messages.notes)
    assert stored.best_step == computed.best_step
    assert stored.test.loss == pytest.approx(computed.test.loss, rel=1e-5)
    assert stored.validation.loss == pytest.approx(computed.validation.loss, rel=1e-5)
    assert stored.validation.measures == pytest.approx(computed.validation.measures)


def test_features_are_those_of_the_direction_that_is_read(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    dials = overlaid(FROZEN, {"tuning": {"strands": "augment"}, "training": {"steps": 30}})
    features = compute(base, dials)
    assert features is not None
    tuning = tuning_of(base, dials)
    model = build_model(MODEL, seed=1).eval()
    attach_head(model, tuning.task.build_head(model))
    collator: Collator = tuning.predictor(model).collator
    codes = [tuning.rows.codes[row] for row in tuning.rows.splits["train"][:5]]
    for rows in (codes, [reverse_complement_codes(row) for row in codes]):
        batch = collator.collate(rows)
        with torch.inference_mode():
            expected = get_head(model).pool_features(position_features(model, batch), batch)
        stored = features.attach(batch, rows).pooled_BK
        assert stored is not None
        np.testing.assert_allclose(stored.numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"tuning": {"method": "full"}},
        {"tuning": {"method": "lora"}},
        {"tuning": {"pool": "attention"}},
        {"tuning": {"mutation": 0.1}},
        {"tuning": {"shift": 2}},
        {"training": {"steps": 2}},
        {"tuning": {"strands": "average"}, "training": {"steps": 12}},
    ],
    ids=str,
)
def test_features_that_change_or_are_read_once_are_not_stored(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    base = make_base(tmp_path / "base")
    enough = overlaid(FROZEN, {"training": {"steps": 13}})
    assert compute(base, enough) is not None
    assert compute(base, overlaid(enough, changes)) is None


def test_equal_sequences_are_computed_once(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    once = examples(60)
    twice = [*once, *once]
    tuning = tuning_of(base, overlaid(FROZEN, {"training": {"steps": 30}}), rows_of(twice))
    model = build_model(MODEL, seed=1).eval()
    attach_head(model, tuning.task.build_head(model))
    features = features_of_training(
        model, tuning.predictor(model).collator, tuning.rows, tuning.config, Listening()
    )
    assert features is not None
    assert len(features.features_DK) <= len({example.sequence for example in once})
