"""The network from scratch finds motifs, and nothing where there is nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.finetuning import network_training
from genomeformer_cli.core.finetuning.dataset import LabelledRows
from genomeformer_cli.core.finetuning.network_training import NetworkTraining
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import reverse_complement
from tests.corpora import random_dna
from tests.unit.core.finetuning.test_kmer_baseline import plain_loss, rows_of

MOTIF = "TGACTCAGCATG"


def motif_rows(*, shuffled: bool = False) -> LabelledRows:
    """Return rows with a motif on either strand, or with labels without meaning."""
    generator = np.random.default_rng(3)
    sequences, labels = [], []
    for number in range(300):
        letters, label = random_dna(50 + number % 3, number), number % 2
        if label:
            site = MOTIF if generator.random() < 0.5 else reverse_complement(MOTIF)
            start = int(generator.integers(0, 38))
            letters = letters[:start] + site + letters[start + len(site) :]
        sequences.append(letters)
        labels.append(str(int(generator.integers(0, 2)) if shuffled else label))
    return rows_of(labels, sequences, ("label",))


def scores(rows: LabelledRows, seed: int) -> tuple[float, float]:
    """Return the validation and the test correlation of a network."""
    training = NetworkTraining(
        rows=rows, loss=plain_loss(rows), both_strands=True, metric="mcc", seed=seed
    )
    network = training.fit(SilentReporter())
    validation, test = (training.evaluate(network, split)[0] for split in ("val", "test"))
    return validation.measures["mcc"], test.measures["mcc"]


def test_a_motif_on_either_strand_is_found_again_with_the_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network_training, "_BATCH", 32)
    monkeypatch.setattr(network_training, "NUM_FILTERS", 32)
    rows = motif_rows()
    state = torch.random.get_rng_state()
    first = scores(rows, 1)
    assert first[1] > 0.8
    assert torch.equal(torch.random.get_rng_state(), state)
    # Fewer bases of training than a pass: it still ends, with the same score for the same seed.
    monkeypatch.setattr(network_training, "MAX_BASES", 8_000)
    shuffled = motif_rows(shuffled=True)
    first = scores(shuffled, 0)
    assert scores(shuffled, 0) == first
    assert -0.5 < first[1] < 0.5


def test_a_saved_network_is_read_and_a_damaged_one_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(network_training, "NUM_FILTERS", 8)
    monkeypatch.setattr(network_training, "MAX_BASES", 8_000)
    rows = motif_rows()
    training = NetworkTraining(
        rows=rows,
        loss=plain_loss(rows),
        both_strands=True,
        metric="loss",
        seed=0,
        folder=tmp_path / "networks" / "one",
    )
    first = training.load_or_fit(SilentReporter()).outputs(rows.codes)
    monkeypatch.setattr(NetworkTraining, "_train", None)
    assert torch.equal(training.load_or_fit(SilentReporter()).outputs(rows.codes), first)
    (file,) = (tmp_path / "networks" / "one").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorruptError):
        training.load_or_fit(SilentReporter())
