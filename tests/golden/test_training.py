"""Losses and gradient norms of 20 training steps in float64: nothing that trains moves unnoticed.

Defaults of `ModelConfig`, `MaskingConfig` and `TrainingConfig` are used wherever a test need not be
small, so that a changed default (rotary base, AdamW's betas, masked share) moves the numbers too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.evaluation.likelihood import likelihood
from genomeformer_cli.core.evaluation.masked_queries import QueryConfig, make_queries
from genomeformer_cli.core.memory_plans.plans import MemoryConfig
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.training.batches import Batches
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.loop import TrainingRun, train
from genomeformer_cli.core.training.metrics import read_rows
from genomeformer_cli.core.training.precision import ComputeConfig
from tests.conftest import GoldenNumbers
from tests.corpora import build_corpus, random_dna
from tests.golden_numbers import Tolerance

STEPS = 20
COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)
TOLERANCE = Tolerance(
    relative=1e-9,
    absolute=1e-12,
    reason="float64 sums in another order, amplified by 20 steps",
)
MUON_TOLERANCE = Tolerance(
    relative=1e-3,
    absolute=1e-6,
    reason="Muon orthogonalises its steps in bfloat16",
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run of 20 steps, small but for what its name says."""

    attention: str = "softmax"  # Mechanism.
    # Other fields of the model's configuration.
    model: dict[str, Any] = field(default_factory=dict)
    plan: str = "full"  # Memory plan.
    # Other fields of the training configuration.
    training: dict[str, Any] = field(default_factory=dict)


CASES = {
    "softmax": Case(),
    "linear": Case(attention="linear", model={"conv_width": 3}),
    "performer": Case(attention="performer", training={"redraw_every": 6}),
    "gated-delta": Case(attention="gated-delta"),
    "gated-delta, causal, slim": Case(
        attention="gated-delta", model={"direction": "causal"}, plan="slim"
    ),
    "two-stack": Case(
        attention="linear",
        model={"direction": "two-stack", "complement": COMPLEMENT},
        plan="two-stack",
    ),
    "two-stack, untied, softmax": Case(model={"direction": "two-stack", "tied": False}),
    "patch 4": Case(model={"patch": 4}),
    "cosine": Case(training={"schedule": "cosine", "reverse_complement": False}),
}
MUON = {"muon": Case(training={"optimizer": "muon"})}


@pytest.fixture
def float64_weights() -> Any:
    """Draw and keep weights in float64: float32 draws differ between processors."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run_of(case: Case, corpus: Corpus, folder: Path) -> TrainingRun:
    model = ModelConfig(
        context=64,
        width=16,
        depth=2,
        num_heads=2,
        mlp_width=24,
        attention=AttentionConfig(name=case.attention, num_features=8),
        **case.model,
    )
    config = TrainingConfig(steps=STEPS, batch_size=4, validate_every=STEPS, **case.training)
    questions = make_queries(corpus, QueryConfig(length=64, max_windows=4, passes=4))
    folder.mkdir()
    return TrainingRun(
        folder=folder,
        model=build_model(model, seed=config.seed),
        tokenizer=corpus.tokenizer,
        batches=Batches(corpus, model, MaskingConfig(), config),
        config=config,
        memory=MemoryConfig(plan=case.plan, chunk=64),
        compute=ComputeConfig(precision="fp32", compile="off"),
        validate=lambda trained: likelihood(trained, questions),
    )


@pytest.mark.usefixtures("float64_weights", "one_thread")
@pytest.mark.parametrize(
    ("file", "cases", "tolerance"),
    [("training.json", CASES, TOLERANCE), ("training_muon.json", MUON, MUON_TOLERANCE)],
    ids=["adamw", "muon"],
)
def test_losses_of_twenty_steps(
    file: str,
    cases: Mapping[str, Case],
    tolerance: Tolerance,
    tmp_path: Path,
    golden_numbers: GoldenNumbers,
) -> None:
    # Repeats, so that there is something to learn; one short record, so that rows are packed.
    sequences = {
        "repeats": "".join(random_dna(40, number % 3) for number in range(30)),
        "soft-masked": random_dna(300, 7).lower() + random_dna(300, 8),
        "short": random_dna(50, 9),
    }
    corpus = build_corpus(tmp_path / "corpus", sequences)
    values: dict[str, Any] = {}
    for number, (name, case) in enumerate(cases.items()):
        run = run_of(case, corpus, tmp_path / f"run-{number}")
        train(run, SilentReporter())
        rows = read_rows(run.folder / "metrics.jsonl")
        assert len(rows) == STEPS
        values[f"{name}: bits per base"] = [row["training"]["bits_per_base"] for row in rows]
        values[f"{name}: gradient norm"] = [row["gradient_norm"] for row in rows]
        values[f"{name}: held-out bits per base"] = rows[-1]["validation"]["bits_per_base"]
    golden_numbers(file, values, tolerance)
