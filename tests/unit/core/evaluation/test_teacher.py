"""Targets of a teacher: of any vocabulary, aligned with the bases, without sight of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genomeformer_cli.core.data.masking import MaskingConfig, mask_windows
from genomeformer_cli.core.data.windows import Windows
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.evaluation.base_likelihood import base_log2
from genomeformer_cli.core.evaluation.teacher import Teacher
from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.distillation import TeacherConfig, TeacherTargets
from genomeformer_cli.core.objectives.examples import make_examples
from genomeformer_cli.core.objectives.loss import Examples
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.tokenizers.protocol import require_ordered
from tests.corpora import random_dna
from tests.dna_tokenizers import TOKENIZERS

LENGTH = 48
CHAR = require_ordered(TOKENIZERS["char"]())
TEXT = [random_dna(LENGTH, 1), random_dna(20, 2) + "NNNN" + random_dna(24, 3)]
DIRECTIONS = ["bidirectional", "causal", "two-stack"]


def model_config(name: str, direction: str, width: int = 16) -> ModelConfig:
    return ModelConfig(
        vocabulary_size=len(TOKENIZERS[name]().tokens),
        context=LENGTH,
        width=width,
        depth=1,
        num_heads=2,
        mlp_width=16,
        direction=direction,  # type: ignore[arg-type]
        tied=False,
    )


def load(name: str, direction: str, width: int = 16) -> LoadedModel:
    torch.manual_seed(0)
    model = build_model(model_config(name, direction, width), seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    return LoadedModel(model=model, tokenizer=TOKENIZERS[name](), folder=Path("teacher"))


def batch(direction: str, rate: float = 0.3) -> Examples:
    tokens = np.stack([CHAR.encode(encode_bases(text)).astype(np.int64) for text in TEXT])
    windows = Windows(tokens_BL=tokens, soft_mask_BL=np.zeros(tokens.shape, dtype=np.bool_))
    student = model_config("char", direction)
    generator = np.random.default_rng(1)
    masking = MaskingConfig(rate=rate)
    return make_examples(windows, CHAR.real_ids, student, masking, generator)


def targets_of(
    loaded: LoadedModel, direction: str, step: int = 0, **settings: Any
) -> tuple[Examples, TeacherTargets]:
    student = build_model(model_config("char", direction))
    teacher = Teacher(loaded, student, CHAR, TeacherConfig(model="t", **settings))
    examples = batch(direction)
    targets = teacher.add_targets(examples, step).teacher
    assert targets is not None
    return examples, targets


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_student_that_is_its_teacher_diverges_nowhere(direction: str) -> None:
    loaded = load("char", direction)
    teacher = Teacher(loaded, loaded.model, CHAR, TeacherConfig(model="t", logits=1.0))
    examples = batch(direction)
    if direction == "bidirectional":
        # The teacher sees [MASK] at every target, the student a random base at some.
        targets_BL = examples.targets_BL
        examples = replace(examples, inputs_BL=examples.inputs_BL.masked_fill(targets_BL >= 0, 4))
    from genomeformer_cli.core.objectives.loss import prediction_loss

    alone = prediction_loss(loaded.model, examples)
    beside = prediction_loss(loaded.model, teacher.add_targets(examples, 0))
    assert float(alone.loss) > 0.5
    assert abs(float(beside.loss)) < 1e-6
    assert float(beside.bits) == float(alone.bits)


@pytest.mark.parametrize("name", ["char", "1-mers"])
@pytest.mark.parametrize("student", ["two-stack", "causal"])
def test_a_teacher_of_two_stacks_predicts_each_base_from_all_others(
    name: str, student: str
) -> None:
    loaded = load(name, "two-stack")
    examples, targets = targets_of(loaded, student)
    for row, text in enumerate(TEXT):
        nats_LR = base_log2(loaded, encode_bases(text), ScoringOptions()) * np.log(2)
        if student == "causal":
            nats_LR = np.roll(nats_LR, -1, axis=0)
        asked = (examples.targets_BL[row] >= 0).numpy()
        np.testing.assert_allclose(targets.nats_BLR[row].numpy()[asked], nats_LR[asked], atol=2e-5)
    assert bool((targets.weights_BL == 1).all())


@pytest.mark.parametrize("name", ["char", "1-mers"])
def test_a_masked_teacher_of_a_masked_student_hides_its_targets(name: str) -> None:
    loaded = load(name, "bidirectional")
    examples, targets = targets_of(loaded, "bidirectional")
    asked = examples.targets_BL >= 0
    true = torch.where(asked, examples.targets_BL, examples.inputs_BL)
    own = loaded.tokenizer
    for row, text in enumerate(TEXT):
        ids = torch.from_numpy(own.encode(encode_bases(text)).astype(np.int64))
        assert own.mask_id is not None
        hidden = loaded.model.hidden(ids.masked_fill(asked[row], own.mask_id)[None], None)
        real = [int(own.encode(encode_bases(base))[0]) for base in "ACGT"]
        nats = loaded.model.logits(hidden)[0][:, real].log_softmax(-1)
        torch.testing.assert_close(targets.nats_BLR[row], nats, atol=2e-5, rtol=1e-4)
        assert CHAR.decode(true[row].numpy().astype(np.uint8)) == text
    assert bool((targets.weights_BL == 1).all())


@pytest.mark.parametrize("name", ["char", "1-mers", "3-mers", "2-mers, overlapping"])
@pytest.mark.parametrize("student", ["two-stack", "causal"])
def test_a_masked_teacher_does_not_see_what_it_predicts(name: str, student: str) -> None:
    loaded = load(name, "bidirectional")
    _, targets = targets_of(loaded, student, step=2, every=4)
    known = targets.weights_BL > 0
    assert 0 < int(known.sum()) < known.numel()
    shift = 1 if student == "causal" else 0
    for row, place in known.nonzero().tolist()[::5]:
        if not 0 <= place + shift < LENGTH:
            continue
        changed = batch(student)
        tokens = changed.inputs_BL.clone()
        token = int(tokens[row, place + shift])
        if token not in CHAR.real_ids:
            continue
        tokens[row, place + shift] = CHAR.real_ids.start + (token - CHAR.real_ids.start + 1) % 4
        model = build_model(model_config("char", student))
        teacher = Teacher(loaded, model, CHAR, TeacherConfig(model="t", every=4))
        retold = teacher.add_targets(
            replace(changed, inputs_BL=tokens, targets_BL=tokens), 2
        ).teacher
        assert retold is not None
        torch.testing.assert_close(
            retold.nats_BLR[row, place], targets.nats_BLR[row, place], atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("name", ["char", "3-mers", "2-mers, overlapping"])
def test_steps_cover_every_base_with_a_mean_weight_of_one(name: str) -> None:
    loaded = load(name, "bidirectional")
    weights = torch.zeros(len(TEXT), LENGTH)
    num_steps = 24
    for step in range(num_steps):
        _, targets = targets_of(loaded, "two-stack", step=step, every=4)
        weights += targets.weights_BL / num_steps
        if name != "char":
            for row, text in enumerate(TEXT):
                rule = ScoringOptions(every=4, only=step)
                log2_LR = base_log2(loaded, encode_bases(text), rule)
                known = np.isfinite(log2_LR).all(axis=1)
                assert np.array_equal(known, (targets.weights_BL[row] > 0).numpy())
                np.testing.assert_allclose(
                    targets.nats_BLR[row].numpy()[known], log2_LR[known] * np.log(2), atol=1e-5
                )
    real = torch.tensor([[base != "N" for base in text] for text in TEXT])
    if name == "3-mers":  # N is a token beside whole k-mers; the cut follows it.
        real &= weights > 0
        assert float(real.float().mean()) > 0.8
    torch.testing.assert_close(weights[real], torch.ones(int(real.sum())), atol=1e-5, rtol=0)


def test_rows_are_read_some_at_a_time() -> None:
    loaded = load("char", "two-stack", width=24)
    whole = targets_of(loaded, "two-stack", features=0.5)[1]
    parts = targets_of(loaded, "two-stack", features=0.5, tokens=LENGTH)[1]
    torch.testing.assert_close(parts.nats_BLR, whole.nats_BLR)
    assert whole.features_BLF is not None
    assert parts.features_BLF is not None
    torch.testing.assert_close(parts.features_BLF, whole.features_BLF)
    assert whole.projection is not None
    assert not whole.nats_BLR.requires_grad
    assert targets_of(load("char", "two-stack"), "two-stack", features=0.5)[1].projection is None


def test_temperatures_soften_the_teacher() -> None:
    for name in ("char", "3-mers"):
        loaded = load(name, "two-stack" if name == "char" else "bidirectional")
        sharp, soft = (targets_of(loaded, "two-stack", temperature=t)[1] for t in (1.0, 3.0))
        expected = (sharp.nats_BLR / 3).log_softmax(-1)
        torch.testing.assert_close(soft.nats_BLR, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("teacher", "direction", "student", "settings", "words"),
    [
        ("byte pairs, 64", "bidirectional", "two-stack", {}, "probabilities of tokens"),
        ("3-mers", "bidirectional", "two-stack", {"features": 1.0}, "belong to no base"),
        ("char", "causal", "two-stack", {}, "sees one side"),
        ("char", "causal", "bidirectional", {}, "sees one side"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(
    teacher: str, direction: str, student: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        targets_of(load(teacher, direction), student, **settings)


def test_windows_and_vocabularies_that_do_not_fit_are_refused() -> None:
    loaded = load("char", "two-stack")
    config = TeacherConfig(model="t")
    long = build_model(replace(model_config("char", "two-stack"), context=96))
    with pytest.raises(ConfigError, match="longer than the 48"):
        Teacher(loaded, long, CHAR, config)
    kmers = require_ordered(TOKENIZERS["3-mers"]())
    student = build_model(model_config("3-mers", "bidirectional"))
    with pytest.raises(ConfigError, match="another vocabulary"):
        Teacher(loaded, student, kmers, config)
    pairs = require_ordered(TOKENIZERS["2-mers, overlapping"]())
    student = build_model(model_config("2-mers, overlapping", "causal"))
    with pytest.raises(ConfigError, match="see the neighbours"):
        Teacher(load("2-mers, overlapping", "bidirectional"), student, pairs, config)


def test_a_teacher_of_k_mers_teaches_a_student_of_the_same() -> None:
    kmers = require_ordered(TOKENIZERS["3-mers"]())
    loaded = load("3-mers", "bidirectional")
    ids = kmers.encode(encode_bases(TEXT[0])).astype(np.int64)[None]
    windows = Windows(tokens_BL=ids, soft_mask_BL=np.zeros(ids.shape, dtype=np.bool_))
    masked = mask_windows(windows, kmers.real_ids, MaskingConfig(), np.random.default_rng(0))
    examples = Examples(
        inputs_BL=torch.from_numpy(masked.inputs_BL),
        targets_BL=torch.from_numpy(masked.targets_BL),
        weights_BL=torch.from_numpy(masked.weights_BL),
        real_ids=kmers.real_ids,
    )
    student = build_model(model_config("3-mers", "bidirectional", 24))
    teacher = Teacher(loaded, student, kmers, TeacherConfig(model="t", features=0.1))
    targets = teacher.add_targets(examples, 0).teacher
    assert targets is not None
    assert targets.nats_BLR.shape == (1, ids.shape[1], len(kmers.real_ids))
