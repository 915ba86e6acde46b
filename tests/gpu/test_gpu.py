"""On a GPU: every mechanism, plan and command does what it does on a processor, in float64 exactly.

Deselected unless asked for: `pytest -m gpu`.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.memory_plans.plans import PLANS, MemoryConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.objectives.loss import Examples
from genomeformer_cli.core.training.metrics import read_rows
from genomeformer_cli.core.training.precision import ComputeConfig, computing
from tests.cli import RunCommand
from tests.gradient_cases import (
    DOCUMENTS,
    MASK,
    MIXTURES,
    SHAPES,
    config,
    examples,
    gradients,
    worst,
)

GPU = torch.device("cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
    # torch's own remarks on what it compiles, on the GPU's clock and on kernels it lacks.
    pytest.mark.filterwarnings("ignore"),
]


def models() -> list[tuple[str, str]]:
    """Every mechanism in every shape that it can have."""
    found = []
    for attention in MIXTURES:
        for shape in SHAPES:
            try:
                build_model(config(attention, shape))
            except ConfigError:
                continue
            found.append((attention, shape))
    return found


MODELS = models()


def asked_of() -> list[Examples]:
    return [examples(), examples(4, mask=MASK), examples(4, documents=DOCUMENTS)]


def moved(asked: Examples) -> Examples:
    return asked.to(GPU)


def on_gpu(model: Model, asked: Examples, memory: MemoryConfig) -> tuple[float, dict[str, Tensor]]:
    prediction, found = gradients(model, moved(asked), memory)
    return float(prediction.loss), {name: one.cpu() for name, one in found.items()}


@pytest.mark.parametrize("case", MODELS, ids="-".join)
def test_gradients_are_those_of_the_processor(case: tuple[str, str]) -> None:
    model = build_model(config(*case)).double()
    there = build_model(config(*case)).double().to(GPU)
    for asked in asked_of():
        prediction, wanted = gradients(model, asked, MemoryConfig(plan="full"))
        for plan, entry in PLANS.items():
            if entry.objection(model) is None:
                loss, found = on_gpu(there, asked, MemoryConfig(plan=plan, chunk=16))
                assert loss == pytest.approx(float(prediction.loss), rel=1e-10), plan
                assert worst(found, wanted) <= 1e-10, plan


@pytest.mark.parametrize("case", MODELS, ids="-".join)
def test_bfloat16_is_near(case: tuple[str, str]) -> None:
    model = build_model(config(*case))
    there = build_model(config(*case)).to(GPU)
    compute = ComputeConfig(precision="bf16", compile="off")
    for asked in asked_of():
        asked = replace(asked, weights_BL=asked.weights_BL.float())
        prediction, _ = gradients(model, asked, MemoryConfig(plan="full"))
        with computing(compute, there):
            loss, found = on_gpu(there, asked, MemoryConfig(plan="full"))
        assert loss == pytest.approx(float(prediction.loss), rel=3e-2)
        assert all(bool(torch.isfinite(one).all()) for one in found.values())


def command(device: str) -> list[str]:
    """A run of that name on that device."""
    run = ["pretrain", "--corpus", "sample", "--preset", "tiny", "--name", device]
    run += [
        "--device",
        device,
        "--steps",
        "20",
        "--set",
        "compute.precision=fp32",
        "--set",
        "model.patch=4",
    ]
    run += ["--objective", "surrounding", "--set", "training.optimizer=muon"]
    run += ["--set", "training.ema=0.9"]
    return [*run, "--set", "training.checkpoint_every=10"]


def test_a_run_is_trained_resumed_and_used(
    run_cli: RunCommand, tmp_path: Path, cache_home: Path
) -> None:
    fasta = tmp_path / "promoters.fa"
    bases = np.random.default_rng(0).choice(list("ACGT"), (40, 300))
    fasta.write_text("".join(f">{n}\n{''.join(row)}\n" for n, row in enumerate(bases)))
    assert run_cli("fetch", "--sample").exit_code == 0
    assert run_cli("tokenize", "--all", "--split", "tail", "--name", "sample").exit_code == 0
    for device in ("cuda", "cpu"):
        finished = run_cli(*command(device))
        assert finished.exit_code == 0, finished.err
    runs = cache_home / "runs"
    bits = [
        json.loads((runs / device / "summary.json").read_text())["model"]["bits_per_base"]
        for device in ("cuda", "cpu")
    ]
    assert bits[0] == pytest.approx(bits[1], rel=1e-3)
    # As if it had been killed after its first checkpoint.
    shutil.rmtree(runs / "cuda/checkpoints/step-00000020")
    (runs / "cuda/summary.json").unlink()
    wanted = read_rows(runs / "cuda/metrics.jsonl")
    again = run_cli(*command("cuda"))
    assert again.exit_code == 0, again.err
    assert "resuming after step 10" in again.err
    found = read_rows(runs / "cuda/metrics.jsonl")
    assert [row["step"] for row in found] == [row["step"] for row in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one["training"]["bits_per_base"] == pytest.approx(
            other["training"]["bits_per_base"], rel=1e-4
        )
    vectors = []
    for device in ("cuda", "cpu"):
        out = tmp_path / f"{device}.npy"
        done = run_cli("embed", str(fasta), "--model", "cuda", "--device", device, "-o", str(out))
        assert done.exit_code == 0, done.err
        vectors.append(np.load(out))
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=1e-3, atol=1e-4)
