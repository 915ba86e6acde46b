"""The linear model beside the head: what it sees, is fitted to, and is not shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, cross_val_predict

from genomeformer_cli.core.errors import ConfigError, CorruptError
from genomeformer_cli.core.evaluation.kmers import (
    GAPS,
    NUM_GAPPED,
    gapped_counts,
    kmer_counts,
    kmer_frequencies,
    positional_pairs,
)
from genomeformer_cli.core.finetuning import kmer_baseline as linear
from genomeformer_cli.core.finetuning.config import SplitRule, TuningConfig
from genomeformer_cli.core.finetuning.dataset import LabelledRows, LabelledTable, label_rows
from genomeformer_cli.core.finetuning.kmer_baseline import (
    BaselineFeatures,
    KmerBaseline,
    fit_linear,
    load_or_fit,
    select_features,
)
from genomeformer_cli.core.finetuning.losses import Loss
from genomeformer_cli.core.formats.labelled import Example
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import Codes, encode_bases, reverse_complement_codes
from tests.corpora import random_dna

SEQUENCES = ["ACGTNACGT", "AAAAAA", "AC", "", "NNNN", "GATTACAGATTACA"]
WORDS = BaselineFeatures(kind="kmers", k=3, length=0, both_strands=False)


def other_strand(letters: str) -> str:
    return letters[::-1].translate(str.maketrans("ACGT", "TGCA"))


def rows_of(labels: list[str], sequences: list[str], columns: tuple[str, ...]) -> LabelledRows:
    pairs = enumerate(zip(sequences, labels, strict=True))
    examples = [Example(str(n), letters, label) for n, (letters, label) in pairs]
    table = LabelledTable(name="task", examples=examples, columns=columns)
    return label_rows(table, kind=None, split=SplitRule(), reporter=SilentReporter())


def plain_loss(rows: LabelledRows) -> Loss:
    return Loss(label_space=rows.label_space, weights=(1.0,) * len(rows.label_space.names))


def seen_of(codes: list[Codes]) -> np.ndarray:
    return np.asarray(WORDS.extract(codes).table((len(codes), WORDS.num_features)).toarray())


def trained(rows: LabelledRows) -> tuple[np.ndarray, np.ndarray]:
    chosen = rows.splits["train"]
    return seen_of([rows.codes[row] for row in chosen]), np.array(
        [rows.targets[row] for row in chosen]
    )


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("both_strands", [False, True])
def test_words_are_counted_as_by_hand(k: int, both_strands: bool) -> None:
    codes = [encode_bases(letters) for letters in SEQUENCES]
    counts = kmer_counts(codes, k, both_strands=both_strands)
    found = counts.table((len(codes), 4**k)).toarray()
    for row, letters in enumerate(SEQUENCES):
        strands = [letters, other_strand(letters)] if both_strands else [letters]
        words = [one[i : i + k] for one in strands for i in range(len(one) - k + 1)]
        expected = np.zeros(4**k)
        for word, number in Counter(word for word in words if "N" not in word).items():
            expected[int("".join(str("ACGT".index(letter)) for letter in word), 4)] = number
        np.testing.assert_array_equal(found[row], expected)
    if not both_strands:
        shares = kmer_frequencies(codes, k).toarray()
        np.testing.assert_allclose(shares, found / np.maximum(found.sum(axis=1), 1)[:, None])


def names(rows: LabelledRows) -> list[str]:
    return [rows.groups[row] for row in rows.splits["train"]]


@pytest.mark.parametrize("both", [False, True])
def test_gapped_counts_equal_a_loop(both: bool) -> None:
    sequences = ["ACGTTGCANACGTACCGGATTA", "ACG", random_dna(40, 5)]
    found = gapped_counts([encode_bases(letters) for letters in sequences], both_strands=both)
    table = found.table((3, NUM_GAPPED)).toarray()
    for row, letters in enumerate(sequences):
        expected = np.zeros(NUM_GAPPED)
        for strand in (letters, other_strand(letters))[: 1 + both]:
            for gap in GAPS:
                for start in range(len(strand) - 5 - gap):
                    site = strand[start : start + 3] + strand[start + 3 + gap : start + 6 + gap]
                    if "N" not in site:
                        number = int("".join(str("ACGT".index(base)) for base in site), 4)
                        expected[(gap - 1) * 4**6 + number] += 1
        np.testing.assert_array_equal(table[row], expected)


def test_pairs_are_distinguished_by_their_places() -> None:
    pairs = positional_pairs([encode_bases(letters) for letters in SEQUENCES], 7)
    found = pairs.table((len(SEQUENCES), 16 * 6)).toarray()
    for row, letters in enumerate(SEQUENCES):
        expected = np.zeros((6, 4, 4))
        for place, (one, two) in enumerate(pairwise(letters[:7])):
            if "N" not in one + two:
                expected[place]["ACGT".index(one)]["ACGT".index(two)] = 1
        np.testing.assert_array_equal(found[row], expected.ravel())


@pytest.mark.parametrize("number", [2, 3])
def test_predictions_of_training_rows_are_cross_fitted(number: int) -> None:
    sequences = [random_dna(40, n) for n in range(150)]
    labels = [f"class {letters.count('A') * number // 20}" for letters in sequences]
    often = Counter(labels).most_common(number)
    assert min(held for _, held in often) > 10
    kept = [n for n, label in enumerate(labels) if label in dict(often)]
    rows = rows_of([labels[n] for n in kept], [sequences[n] for n in kept], ("label",))
    fit = fit_linear(rows, WORDS, plain_loss(rows), SilentReporter())
    seen, truth = trained(rows)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    # Which strength was taken is not asked: one of them gives the same answers.
    closest = []
    for strength in linear.STRENGTHS:
        model = LogisticRegression(C=strength, tol=1e-3, max_iter=300)
        said = cross_val_predict(
            model, seen, truth[:, 0], cv=folds, groups=names(rows), method="predict_proba"
        )
        closest.append(np.abs(said - fit.outputs_NC.softmax(dim=1).numpy()).max())
    assert min(closest) < 1e-3
    strength = linear.STRENGTHS[int(np.argmin(closest))]
    whole = LogisticRegression(C=strength, tol=1e-3, max_iter=300).fit(seen, truth[:, 0])
    part = KmerBaseline(WORDS, len(rows.label_space.names))
    fit.copy_to(part)
    found = part.outputs([rows.codes[row] for row in rows.splits["test"]]).softmax(dim=1)
    codes = [rows.codes[row] for row in rows.splits["test"]]
    np.testing.assert_allclose(found, whole.predict_proba(seen_of(codes)), atol=1e-3)


def test_labels_that_mean_nothing_are_not_known_by_heart() -> None:
    generator = np.random.default_rng(0)
    sequences = [random_dna(60, n) for n in range(300)]
    rows = rows_of([str(one) for one in generator.integers(0, 2, 300)], sequences, ("label",))
    features = replace(WORDS, k=5)
    fit = fit_linear(rows, features, plain_loss(rows), SilentReporter())
    _, truth = trained(rows)
    right = float((fit.outputs_NC.argmax(dim=1).numpy() == truth[:, 0]).mean())
    assert 0.35 < right < 0.65


def test_numbers_and_several_labels() -> None:
    sequences = [random_dna(40, n) for n in range(120)]
    shares = [sum(letter in "GC" for letter in letters) / 40 for letters in sequences]
    rows = rows_of([f"{one:.4f}" for one in shares], sequences, ("label",))
    fit = fit_linear(rows, WORDS, plain_loss(rows), SilentReporter())
    seen, truth = trained(rows)
    folds = GroupKFold(5)
    errors = [
        np.abs(
            cross_val_predict(Ridge(alpha=1 / one), seen, truth[:, 0], cv=folds, groups=names(rows))
            - said
        ).max()
        for said in [fit.outputs_NC[:, 0].numpy()]
        for one in linear.STRENGTHS
    ]
    assert min(errors) < 1e-3
    assert np.corrcoef(fit.outputs_NC[:, 0], truth[:, 0])[0, 1] > 0.8
    # The third label is held by every row: as good as always true.
    labels = [
        f"{int(one > 0.5)}\t{int(letters[0] == 'A')}\t1"
        for one, letters in zip(shares, sequences, strict=True)
    ]
    rows = rows_of(labels, sequences, ("rich", "starts", "all"))
    fit = fit_linear(rows, WORDS, plain_loss(rows), SilentReporter())
    assert (fit.outputs_NC[:, 2] > 3).all()
    _, truth = trained(rows)
    assert float(((fit.outputs_NC[:, 0].numpy() > 0) == (truth[:, 0] > 0.5)).mean()) > 0.7


def test_both_strands_are_one_where_both_are_read() -> None:
    part = KmerBaseline(replace(WORDS, both_strands=True), 2)
    part.weight_FC.copy_(torch.randn(part.weight_FC.shape))
    codes = [encode_bases(random_dna(30, n)) for n in range(5)]
    turned = [reverse_complement_codes(one) for one in codes]
    torch.testing.assert_close(part.outputs(codes), part.outputs(turned))


def test_a_fit_is_made_once_per_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = [random_dna(30, n) for n in range(60)]
    rows = rows_of([letters[0] for letters in sequences], sequences, ("label",))
    folder = tmp_path / "linear"
    made = load_or_fit(folder, rows, WORDS, plain_loss(rows), SilentReporter())
    monkeypatch.setattr(linear, "fit_linear", None)
    again = load_or_fit(folder, rows, WORDS, plain_loss(rows), SilentReporter())
    for name, tensor in vars(made).items():
        assert torch.equal(vars(again)[name], tensor)
    path = folder / "linear.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptError):
        load_or_fit(folder, rows, WORDS, plain_loss(rows), SilentReporter())


def test_invalid_requests_are_refused() -> None:
    sequences = ["ACGTAC", "GGCCTA"] * 20
    rows = rows_of(["swwsws", "sswwsw"] * 20, sequences, ("label",))
    with pytest.raises(ConfigError, match="labels of bases"):
        select_features(rows, TuningConfig(linear="kmers"))
    assert select_features(rows, TuningConfig()) is None
    with pytest.raises(ConfigError, match="single strand"):
        TuningConfig(linear="both", strands="average")
    with pytest.raises(ConfigError, match="kmer` cannot be 10"):
        TuningConfig(kmer=10)


def test_relatives_are_left_out_together() -> None:
    """Ten copies of each of thirty sequences, labels drawn: copies would tell of each other."""
    labels = np.random.default_rng(0).integers(0, 2, 30)
    copies = [
        Example(f"{n}-{copy}", random_dna(60, n), str(labels[n]), group=f"family {n}")
        for n in range(30)
        for copy in range(10)
    ]
    right = []
    for examples in (copies, [replace(one, group="") for one in copies]):
        table = LabelledTable(name="task", examples=examples, columns=("label",))
        rows = label_rows(table, kind=None, split=SplitRule(), reporter=SilentReporter())
        fit = fit_linear(rows, replace(WORDS, k=5), plain_loss(rows), SilentReporter())
        truth = np.array([rows.targets[row][0] for row in rows.splits["train"]])
        right.append(float((fit.outputs_NC.argmax(dim=1).numpy() == truth).mean()))
    assert right[0] < 0.75
    assert right[1] > 0.95
