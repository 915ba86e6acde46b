"""Embeddings, scores and a fine-tuning of the model in the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genomeformer_cli import load
from genomeformer_cli.core.evaluation.base_likelihood import score_record
from genomeformer_cli.core.evaluation.tokenized_record import ScoringOptions
from genomeformer_cli.core.finetuning.config import FinetuneConfig
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.genomes.sample import install_sample, sample_genomes
from genomeformer_cli.core.model_io.model_folder import write_model
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.training.metrics import read_rows
from genomeformer_cli.core.training.precision import ComputeConfig
from genomeformer_cli.core.workflows.finetune import FinetuneRequest, finetune_model
from tests.conftest import GoldenNumbers
from tests.corpora import random_dna
from tests.golden_numbers import Tolerance

TOLERANCE = Tolerance(
    relative=1e-4, absolute=1e-4, reason="float32 sums in another order, of features near 1"
)
BITS_TOLERANCE = Tolerance(relative=1e-4, absolute=1e-5, reason="float32 sums in another order")
TUNING_TOLERANCE = Tolerance(
    relative=1e-3, absolute=1e-5, reason="float32 sums in another order, amplified by 12 steps"
)
SHOWN = 12

# Lengths around the patch of 8 bases and the context of 4,096.
SEQUENCES = {
    "1 base": "G",
    "7 bases": random_dna(7, 1),
    "8 bases": random_dna(8, 2),
    "9 bases": random_dna(9, 3),
    "lower case": random_dna(60, 4).lower(),
    "RNA": random_dna(60, 4).replace("T", "U"),
    "IUPAC codes": random_dna(40, 5) + "RYKMSWBDHVN" + random_dna(40, 6),
    "run of N": random_dna(40, 5) + "N" * 30 + random_dna(40, 6),
    "repeat": "CAG" * 100,
    "4,096 bases": random_dna(4096, 7),
    "4,097 bases": random_dna(4097, 8),
}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_embeddings(golden_numbers: GoldenNumbers) -> None:
    model = load(device="cpu")
    values: dict[str, Any] = {}
    for pool in ("mean", "max", "auto", "auto:placed", "auto:motif"):
        rows = model.embed(list(SEQUENCES.values()), pool=pool)
        for name, row in zip(SEQUENCES, rows, strict=True):
            places = np.linspace(0, row.size - 1, SHOWN).astype(int)
            numbers = [float(np.linalg.norm(row)), float(row.mean()), *row[places].tolist()]
            values[f"{name}, {pool}"] = [row.size, numbers]
    golden_numbers("embeddings.json", values, TOLERANCE)


def test_bits_per_base_of_a_sample(tmp_path: Path, golden_numbers: GoldenNumbers) -> None:
    model = load(device="cpu")
    install_sample(sample_genomes()[0], store=Store(tmp_path))
    (fasta,) = tmp_path.rglob("*.fa.gz")
    (record,) = read_records(fasta)
    codes = encode_bases(record.sequence)[:3000]
    values: dict[str, Any] = {}
    for name, rule in {
        "one strand": ScoringOptions(),
        "both strands, windows of 1,000": ScoringOptions(both_strands=True, window=1000),
    }.items():
        score, _ = score_record(model.loaded, record.id, codes, rule)
        values[name] = [score.num_scored, score.bits_per_base]
    golden_numbers("default_bits.json", values, BITS_TOLERANCE)


def test_a_fine_tuning_of_a_small_table(tmp_path: Path, golden_numbers: GoldenNumbers) -> None:
    generator = np.random.default_rng(0)
    lines = ["sequence\tlabel"]
    for number in range(60):
        chances = [0.35, 0.15, 0.15, 0.35] if number % 2 else [0.15, 0.35, 0.35, 0.15]
        bases = generator.choice(list("ACGT"), int(generator.integers(12, 60)), p=chances)
        lines.append(f"{''.join(bases)}\t{('gc', 'at')[number % 2]}")
    table = tmp_path / "table.tsv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    base = tmp_path / "base"
    base.mkdir()
    model = ModelConfig(context=64, width=16, depth=2, num_heads=2, mlp_width=24, conv_width=3)
    write_model(build_model(model, seed=1), CharTokenizer(), base)
    seal(base)
    request = FinetuneRequest(
        data=table,
        model=str(base),
        name="tuned",
        config=FinetuneConfig(
            epochs=6.0,
            validate_every=4,
            compute=ComputeConfig(precision="fp32", compile="off"),
        ),
        device="cpu",
        threads=1,
    )
    result = finetune_model(request, reporter=SilentReporter(), store=Store(tmp_path / "cache"))
    rows = read_rows(result.run / "pretrained-seed-0" / "metrics.jsonl")
    (seed,) = result.summary.results
    values: dict[str, Any] = {
        "training loss": [row["training"]["loss"] for row in rows],
        "gradient norm": [row["gradient_norm"] for row in rows],
        "learning rate": [row["learning_rate"] for row in rows],
        "validation loss": [r["validation"]["loss"] for r in rows if "validation" in r],
        "test loss": seed.test.loss,
        "trained weights": seed.num_trained,
    }
    golden_numbers("finetuning.json", values, TUNING_TOLERANCE)
