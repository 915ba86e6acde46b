"""Batches made ahead are those made on the spot; stages, tokens, documents and bases add up."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.memory_plans.plans import MemoryConfig, accumulate_gradients
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.genomeformer.encoder import Encoder
from genomeformer_cli.core.objectives.loss import Examples
from genomeformer_cli.core.tokenizers.files import build_tokenizer
from genomeformer_cli.core.training.batches import Batch, Batches, Prefetcher
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.length_curriculum import stages
from tests.corpora import build_corpus, random_dna

MODEL = ModelConfig(context=64, width=16, depth=1, num_heads=2, mlp_width=16)
CONFIG = TrainingConfig(steps=40, batch_size=4)
SHORT = {f"s{n}": random_dna(11 + 3 * n, n) for n in range(9)}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    split = SplitConfig(by=SplitBy.RECORD, holdout=("s0",))
    return build_corpus(tmp_path / "c", SHORT | {"long": random_dna(900, 50)}, split=split)


def batches(
    corpus: Corpus, config: TrainingConfig = CONFIG, model: ModelConfig = MODEL, span: int = 1
) -> Batches:
    return Batches(corpus, model, MaskingConfig(span=span), config)


def same(one: Batch, other: Batch) -> bool:
    left, right = one.examples, other.examples
    return (
        torch.equal(left.inputs_BL, right.inputs_BL)
        and torch.equal(left.targets_BL, right.targets_BL)
        and torch.equal(left.weights_BL, right.weights_BL)
        and one.num_bases == other.num_bases
    )


def test_what_is_made_ahead_is_what_is_made(corpus: Corpus) -> None:
    with Prefetcher(batches(corpus).make, 3, 20) as ahead:
        made = [ahead.next() for _ in range(3, 20)]
    assert [batch.step for batch in made] == list(range(3, 20))
    for batch in made:
        assert isinstance(batch, Batch)
        assert same(batch, batches(corpus).make(batch.step))


def test_a_failure_is_raised_where_the_batch_is_awaited_and_the_thread_ends(
    corpus: Corpus,
) -> None:
    source = batches(corpus)

    def make(step: int) -> Batch:
        if step == 2:
            raise ConfigError("no step two")
        return source.make(step)

    before = threading.active_count()
    with Prefetcher(make, 0, 9) as ahead:
        assert [ahead.next().step, ahead.next().step] == [0, 1]
        with pytest.raises(ConfigError, match="no step two"):
            ahead.next()
    with Prefetcher(source.make, 0, 10**9) as ahead:
        ahead.next()
    assert threading.active_count() == before


def test_a_packed_batch_has_the_gradients_of_its_documents(corpus: Corpus) -> None:
    """The gradient of packed rows is that of one document per row."""
    batch = batches(corpus, replace(CONFIG, batch_size=12)).make(0)
    packed = batch.examples
    assert packed.documents_BL is not None
    model = Encoder(replace(MODEL, conv_width=5), seed=3)
    gradients = []
    for examples in (packed, _one_a_row(packed)):
        model.zero_grad()
        accumulate_gradients(model, examples, MemoryConfig(plan="full"))
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-4)


def _one_a_row(packed: Examples) -> Examples:
    assert packed.documents_BL is not None
    rows: list[tuple[int, torch.Tensor]] = []
    for row in range(len(packed.inputs_BL)):
        numbers = packed.documents_BL[row]
        rows += [(row, numbers == n) for n in range(int(numbers.max()) + 1)]
    longest = max(int(where.sum()) for _, where in rows)

    def laid(name: str, value: float) -> torch.Tensor:
        source = getattr(packed, name)
        out = torch.full((len(rows), longest), value, dtype=source.dtype)
        for number, (row, where) in enumerate(rows):
            out[number, : int(where.sum())] = source[row, where]
        return out

    mask_BL = torch.zeros(len(rows), longest, dtype=torch.bool)
    for number, (_, where) in enumerate(rows):
        mask_BL[number, : int(where.sum())] = True
    return replace(
        packed,
        inputs_BL=laid("inputs_BL", 0),
        targets_BL=laid("targets_BL", -100),
        weights_BL=laid("weights_BL", 0),
        mask_BL=mask_BL,
        documents_BL=None,
    )


def test_no_document_is_queried_from_another(corpus: Corpus) -> None:
    causal = replace(MODEL, direction="causal")
    examples = batches(corpus, replace(CONFIG, batch_size=12), causal).make(0).examples
    assert examples.documents_BL is not None
    numbers, targets = examples.documents_BL, examples.targets_BL
    last = torch.ones_like(numbers, dtype=torch.bool)
    last[:, :-1] = numbers[:, 1:] != numbers[:, :-1]
    assert (targets[last] < 0).all()
    inside = ~last & (numbers >= 0)
    followed = examples.inputs_BL.roll(-1, dims=1)
    assert torch.equal(targets[inside], followed[inside])


def test_soft_mask_weights_follow_the_targets_of_a_causal_model(tmp_path: Path) -> None:
    dna = random_dna(100) + random_dna(100, 1).lower() + random_dna(100, 2)
    corpus = build_corpus(tmp_path / "c", {"a": dna})
    config = TrainingConfig(steps=9, batch_size=2, reverse_complement=False)
    model = replace(MODEL, direction="causal")
    source = Batches(corpus, model, MaskingConfig(soft_mask_weight=0.25), config)
    for step in range(9):
        examples = source.make(step).examples
        for row in range(2):
            text = corpus.tokenizer.decode(examples.inputs_BL[row].numpy().astype(np.uint8))
            start = dna.upper().index(text)
            for place in range(len(text) - 1):
                expected = 0.25 if dna[start + place + 1].islower() else 1.0
                assert examples.weights_BL[row, place] == expected


def test_the_curriculum_keeps_the_tokens_of_a_step() -> None:
    config = replace(CONFIG, start_length=16, steps=100, batch_size=8, curriculum_share=0.6)
    found = stages(config, 100)
    assert [(one.first, one.length, one.rows) for one in found] == [
        (0, 16, 50),
        (20, 32, 25),
        (40, 64, 12),
        (60, 100, 8),
    ]


def test_tokens_a_step_are_accumulated(corpus: Corpus) -> None:
    config = replace(CONFIG, batch_size=2, tokens_per_step=640)
    (stage,) = stages(config, 64)
    assert (stage.rows, stage.rows_at_once) == (10, 2)
    batch = batches(corpus, config).make(0)
    assert len(batch.examples.inputs_BL) == 10
    model = Encoder(MODEL, seed=1)
    gradients = []
    for rows in (0, stage.rows_at_once):
        model.zero_grad()
        accumulate_gradients(model, batch.examples, MemoryConfig(plan="full", rows=rows))
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    "change", [{"start_length": 128}, {"start_length": 2, "steps": 5}, {"curriculum_share": 1.0}]
)
def test_impossible_stages_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        stages(replace(CONFIG, **change), 64)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [{"k": 4}, {"k": 4, "stride": 1}])
def test_bases_of_longer_tokens_are_counted(tmp_path: Path, kind: dict[str, int]) -> None:
    tokenizer = build_tokenizer("kmer", **kind)
    corpus = build_corpus(tmp_path / "k", {"a": random_dna(3000)}, tokenizer=tokenizer)
    model = replace(MODEL, vocabulary_size=len(tokenizer.tokens))
    batch = batches(corpus, model=model).make(0)
    targets = batch.examples.targets_BL
    targets = targets[targets >= 0]
    sizes = [len(tokenizer.tokens[int(one)]) if "stride" not in kind else 1 for one in targets]
    assert batch.target_bases == sum(sizes)
    assert batch.num_tokens == 4 * 64


def test_hidden_bases_of_overlapping_tokens_are_shown_by_none(tmp_path: Path) -> None:
    tokenizer = build_tokenizer("kmer", k=4, stride=1)
    corpus = build_corpus(tmp_path / "k", {"a": random_dna(3000)}, tokenizer=tokenizer)
    model = replace(MODEL, vocabulary_size=len(tokenizer.tokens))
    targets = batches(corpus, model=model).make(0).examples.targets_BL >= 0
    for row in targets:
        edges = torch.diff(row.int(), prepend=torch.tensor([0]), append=torch.tensor([0]))
        starts, stops = (edges == 1).nonzero().flatten(), (edges == -1).nonzero().flatten()
        inner = [(a, b) for a, b in zip(starts.tolist(), stops.tolist(), strict=True) if b < 64]
        assert all(b - a >= 4 for a, b in inner)
    with pytest.raises(ConfigError, match="two stacks"):
        batches(corpus, model=replace(model, direction="two-stack", tied=False))
