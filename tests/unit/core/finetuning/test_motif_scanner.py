"""Motif scanner: gradients, strands, padding, positions and statistics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.finetuning import motif_scanner
from genomeformer_cli.core.finetuning.collate import Collator
from genomeformer_cli.core.finetuning.config import TuningConfig
from genomeformer_cli.core.finetuning.motif_scanner import (
    BaseRows,
    MotifBranch,
    MotifOptions,
    MotifScanner,
)
from genomeformer_cli.core.finetuning.run import select_motifs
from genomeformer_cli.core.sequence import Codes, encode_bases, reverse_complement_codes
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from tests.corpora import random_dna
from tests.unit.core.finetuning.test_kmer_baseline import rows_of


def options_of(**changes: Any) -> MotifOptions:
    return MotifOptions(**{"num_filters": 8, "both_strands": True, "length": 30, **changes})


def base_rows(codes: list[Codes]) -> BaseRows:
    collator = Collator(tokenizer=CharTokenizer(), window=64, per_base=False, with_codes=True)
    return collator.collate(codes).base_rows


CODES = [encode_bases(random_dna(size, size)) for size in (30, 21, 30, 12)]
CODES[2] = CODES[2].copy()
CODES[2][5:9] = 4


@pytest.mark.parametrize(("both_strands", "training"), [(False, True), (True, False)])
def test_gradients_are_those_of_finite_differences(*, both_strands: bool, training: bool) -> None:
    options = options_of(num_filters=4, both_strands=both_strands, length=6)
    branch = MotifBranch(options, seed=1).double().train(training)
    rows = base_rows([codes[:7] for codes in CODES[2:]])
    shares_BRL = rows.bases_BRL.double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda shares: branch(replace(rows, bases_BRL=shares))[:, :9], (shares_BRL,)
    )
    branch(replace(rows, bases_BRL=shares_BRL)).sum().backward()
    for name, parameter in branch.named_parameters():
        assert parameter.grad is not None, name
        # Normalisation and softmax cancel the biases before them.
        is_cancelled = name == "scanner.attend.bias" or (
            training and name.startswith(("scanner.scanners", "scanner.mix.")) and "bias" in name
        )
        assert (parameter.grad.abs().max() > 1e-12) or is_cancelled


@torch.no_grad()
def test_a_row_and_its_reverse_complement_have_equal_features() -> None:
    reverse = [reverse_complement_codes(codes) for codes in CODES]
    branch = MotifBranch(options_of(), seed=2)
    branch.standardise([base_rows(CODES)])
    assert torch.equal(branch(base_rows(CODES)), branch(base_rows(reverse)))
    single = MotifBranch(options_of(both_strands=False), seed=2).eval()
    difference = single(base_rows(CODES)) - single(base_rows(reverse))
    assert difference.abs().amax(dim=1).min() > 1e-3


@pytest.mark.parametrize("both_strands", [False, True])
@torch.no_grad()
def test_batch_and_padding_change_no_feature(*, both_strands: bool) -> None:
    scanner = MotifScanner(options_of(both_strands=both_strands), seed=3).eval()
    together = scanner(base_rows(CODES))
    for number, codes in enumerate(CODES):
        alone = scanner(base_rows([codes]))
        torch.testing.assert_close(together[number : number + 1], alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_features_by_position_end_with_the_longest_training_row() -> None:
    scanner = MotifScanner(options_of(both_strands=False, length=20), seed=3)
    assert scanner(base_rows(CODES)).shape == (
        4,
        options_of(both_strands=False, length=20).num_features,
    )
    pooled = options_of().num_features
    longer, shorter = scanner(base_rows(CODES[:1]))[0], scanner(base_rows(CODES[3:]))[0]
    assert (longer[pooled:] != 0).all()
    # 12 channels of 20 positions, of which the shorter row has 12.
    assert (shorter[pooled:].view(12, 20)[:, 12:] == 0).all()


@torch.no_grad()
def test_statistics_are_those_of_the_rows() -> None:
    branch = MotifBranch(options_of(num_filters=16), seed=4)
    rows = base_rows([encode_bases(random_dna(30, seed)) for seed in range(64)])
    state = torch.random.get_rng_state()
    branch.standardise([rows])
    features_BK = (branch.scanner(rows) - branch.mean_K) / branch.spread_K
    np.testing.assert_allclose(features_BK.mean(dim=0), 0, atol=1e-4)
    assert float(features_BK.std(dim=0, correction=0).max()) < 1.001
    again = MotifBranch(options_of(num_filters=16), seed=4)
    again.standardise([rows])
    assert torch.equal(again(rows), branch(rows))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_invalid_filters_and_labels_of_bases_are_refused() -> None:
    rows = rows_of(["0", "1"] * 20, [random_dna(9, n) for n in range(40)], ("label",))
    with pytest.raises(ConfigError, match="number of motif filters 6"):
        select_motifs(rows, TuningConfig(motif_filters=6))
    with pytest.raises(ConfigError, match="motif_filters` cannot be -4"):
        TuningConfig(motif_filters=-4)
    by_base = rows_of(["01" * 5] * 40, [random_dna(10, n) for n in range(40)], ("label",))
    with pytest.raises(ConfigError, match="labels of bases"):
        select_motifs(by_base, TuningConfig(motif_filters=8))
    found = select_motifs(rows, TuningConfig(motif_filters=8, strands="average"))
    assert found == MotifOptions(num_filters=8, both_strands=True, length=9)


@torch.no_grad()
def test_padding_changes_no_statistic_of_a_batch() -> None:
    scanner = MotifScanner(options_of(), seed=3).train()
    before = scanner.scan_norm.mean_F1.clone()
    rows = base_rows(CODES)
    padded = BaseRows(
        bases_BRL=torch.nn.functional.pad(rows.bases_BRL, (0, 5)), length_B=rows.length_B
    )
    torch.testing.assert_close(scanner(rows), scanner(padded))
    assert not torch.equal(scanner.scan_norm.mean_F1, before)
    state = scanner.eval().scan_norm.mean_F1.clone()
    scanner(rows)
    assert torch.equal(scanner.scan_norm.mean_F1, state)


@pytest.mark.parametrize("both_strands", [True, False])
@pytest.mark.parametrize("piece", [1, 7, 40])
def test_rows_in_pieces_have_the_features_of_whole_rows(
    monkeypatch: pytest.MonkeyPatch, piece: int, *, both_strands: bool
) -> None:
    scanner = MotifScanner(options_of(both_strands=both_strands), seed=2).eval()
    rows = base_rows([*CODES, encode_bases(random_dna(90, 9)), encode_bases("A")])
    scanner.standardise(rows)
    whole_BK = scanner(rows)
    assert whole_BK.requires_grad
    monkeypatch.setattr(motif_scanner, "_BASES_AT_ONCE", 0)
    monkeypatch.setattr(motif_scanner, "_LEAST_PIECE", piece)
    widest: list[int] = []
    scan = scanner._scan

    def record(bases_BRL: torch.Tensor, is_base_B1L: torch.Tensor) -> torch.Tensor:
        widest.append(bases_BRL.shape[-1])
        return scan(bases_BRL, is_base_B1L)

    monkeypatch.setattr(scanner, "_scan", record)
    with torch.no_grad():
        torch.testing.assert_close(scanner(rows), whole_BK)
    assert max(widest) <= piece + 2 * motif_scanner._REACH < 90
