"""The network from scratch finds motifs, and nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genomeformer_cli.core.finetuning import motif_network
from genomeformer_cli.core.finetuning.dataset import LabelledRows
from genomeformer_cli.core.finetuning.motif_network import MotifNetwork, NetworkTraining
from genomeformer_cli.core.finetuning.motif_scanner import MotifOptions
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import encode_bases, reverse_complement
from tests.corpora import random_dna
from tests.unit.core.finetuning.test_kmer_baseline import plain_loss, rows_of

MOTIF = "TGACTCAGCATG"
OPTIONS = MotifOptions(num_filters=8, both_strands=True, length=40)


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
    validation, test, _ = training.fit(SilentReporter())
    return validation.measures["mcc"], test.measures["mcc"]


def test_a_motif_on_either_strand_is_found_again_with_the_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(motif_network, "_BATCH", 32)
    monkeypatch.setattr(motif_network, "NUM_FILTERS", 32)
    rows = motif_rows()
    state = torch.random.get_rng_state()
    first = scores(rows, 1)
    assert first[1] > 0.8
    assert torch.equal(torch.random.get_rng_state(), state)
    # Fewer bases of training than a pass: it still ends, with the same score for the same seed.
    monkeypatch.setattr(motif_network, "MAX_BASES", 8_000)
    shuffled = motif_rows(shuffled=True)
    first = scores(shuffled, 0)
    assert scores(shuffled, 0) == first
    assert -0.5 < first[1] < 0.5


def test_padding_and_strands_do_not_change_the_outputs() -> None:
    network = MotifNetwork(2, OPTIONS, seed=0).eval()
    codes = encode_bases(random_dna(30, 1))
    bare = torch.from_numpy(codes.astype(np.int64))[None]
    padded = torch.nn.functional.pad(bare, (0, 9), value=5)
    turned = (3 - bare).flip(1)
    with torch.no_grad():
        torch.testing.assert_close(network(bare), network(turned))
        torch.testing.assert_close(network(bare), network(padded))
