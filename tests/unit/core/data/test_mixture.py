"""Mixtures: shares within bounds, epochs within groups, annotated places, weights of repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.annotation.anchors import anchors_of
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.data.mixture import (
    Allocation,
    Group,
    Mixture,
    SamplingConfig,
    groups_sha256,
    open_mixture,
)
from genomeformer_cli.core.data.windows import Sampling, WindowSampler
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.formats.feature import MINUS, PLUS, Kind
from genomeformer_cli.core.sequence import encode_bases, reverse_complement
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.tokenize import TokenizeRequest, tokenize_genomes
from tests.annotations import feature, genbank, record_of
from tests.corpora import build_corpus, random_dna
from tests.reporters import Listening

LENGTH = 64
SEQUENCES = {
    "a|1": random_dna(3000, 1),
    "a|2": random_dna(1000, 2),
    "b|1": random_dna(500, 3),
    "c": random_dna(700, 4),
}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return build_corpus(tmp_path / "corpus", SEQUENCES)


def mixture(corpus: Corpus, tmp_path: Path, **mix: float) -> Mixture:
    return open_mixture(corpus, SamplingConfig(mix=mix), Store(tmp_path), Listening())


def sampler(corpus: Corpus, groups: Any = (), **changed: Any) -> WindowSampler:
    settings = {"length": LENGTH, "batch_size": 8, "seed": 5, "reverse_complement": False}
    return WindowSampler(corpus, "train", Sampling(**{**settings, **changed}), groups)


def rows_of(corpus: Corpus, drawn: WindowSampler, steps: range) -> list[str]:
    return [
        corpus.tokenizer.decode(row[row > 0].astype(np.uint8))
        for step in steps
        for row in drawn.batch(step)[0].tokens_BL
    ]


def source(row: str) -> str:
    (name,) = [name for name, sequence in SEQUENCES.items() if row in sequence]
    return name


@given(
    st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5),
    st.integers(0, 2**32),
    st.integers(0, 3000),
)
def test_rows_follow_the_shares_and_count_within_groups(
    weights: list[float], seed: int, row: int
) -> None:
    shares = (np.array(weights) / sum(weights)).tolist()
    allocation = Allocation(shares, seed)
    places = [allocation.place(number) for number in range(2048)]
    for group, share in enumerate(shares):
        ranks = [rank for own, rank in places if own == group]
        assert ranks == list(range(len(ranks)))
        # Closer than binomial counts: less than one row from the share in each of two blocks.
        assert abs(len(ranks) - 2048 * share) <= 2 + 1e-9
    assert Allocation(shares, seed).place(row) == (
        places[row] if row < 2048 else allocation.place(row)
    )


def test_the_windows_of_a_run_follow_the_shares(corpus: Corpus, tmp_path: Path) -> None:
    groups = mixture(corpus, tmp_path, a=3, b=1).groups
    rows = rows_of(corpus, sampler(corpus, groups), range(100))
    shares = np.array([source(row).startswith("a|") for row in rows])
    error = 3 * (0.75 * 0.25 / shares.size) ** 0.5
    assert abs(shares.mean() - 0.75) < error
    assert {source(row) for row in rows} == {"a|1", "a|2", "b|1"}


def test_every_group_repeats_its_own_epochs(corpus: Corpus, tmp_path: Path) -> None:
    groups = mixture(corpus, tmp_path, b=1, rest=1).groups
    drawn = sampler(corpus, groups)
    small, large = drawn.group_windows
    assert small < large
    rows = [row for row in rows_of(corpus, drawn, range(40)) if source(row) == "b|1"]
    for epoch in range(len(rows) // small):
        starts = sorted(SEQUENCES["b|1"].index(row) for row in rows[epoch * small :][:small])
        slots = np.clip(np.arange(small) * LENGTH, 0, 450 - LENGTH)
        assert (np.abs(np.array(starts) - slots) <= LENGTH / 2).all()


def test_a_mixture_of_everything_is_a_function_of_the_step(corpus: Corpus, tmp_path: Path) -> None:
    groups = mixture(corpus, tmp_path, **{"a": 1, "c": 2, "test/b|1": 0.2}).groups
    walked = sampler(corpus, groups)
    steps = [walked.batch(step)[0].tokens_BL for step in range(20)]
    for step in (19, 2, 11):
        assert np.array_equal(sampler(corpus, groups).batch(step)[0].tokens_BL, steps[step])
    reordered = mixture(corpus, tmp_path, **{"test/b|1": 1, "c": 10, "a": 5}).groups
    assert np.array_equal(sampler(corpus, reordered).batch(7)[0].tokens_BL, steps[7])


def test_unread_training_data_is_a_warning(corpus: Corpus, tmp_path: Path) -> None:
    listening = Listening()
    config = SamplingConfig(mix={"a|1": 1, "c": 1})
    open_mixture(corpus, config, Store(tmp_path), listening)
    (warning,) = listening.warnings
    assert "1,350 tokens" in warning
    assert "rest" in warning


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("human", "no group `human`"),
        ("promoter", "has an annotated promoter"),
        ("promoter:a", "has an annotated promoter"),
        ("promoter:x", "no group `x`"),
    ],
)
def test_an_unknown_name_lists_the_groups(
    name: str, words: str, corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        mixture(corpus, tmp_path, **{name: 1.0})
    if "no group" in words:
        for known in ("test", "a", "b|1", "c", "rest", "promoter", "cds-start"):
            assert f"`{known}`" in str(refused.value.hint)


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan"), float("inf")])
def test_a_share_is_a_positive_number(share: float) -> None:
    with pytest.raises(ConfigError, match=r"`sampling\.mix\.a` cannot be"):
        SamplingConfig(mix={"a": share})


def test_anchors_are_centres_of_windows_and_first_bases() -> None:
    features = [
        feature(Kind.GENE, 400, 700),
        feature(Kind.CDS, 400, 700),
        feature(Kind.GENE, 900, 1200, MINUS),
        feature(Kind.CDS, 910, 1200, MINUS),
        feature(Kind.CDS, 910, 1200, MINUS),
    ]
    record = record_of(random_dna(2000), *features)
    assert anchors_of(record, "promoter").tolist() == [350, 1250]
    assert anchors_of(record, "terminator").tolist() == [750, 850]
    assert anchors_of(record, "cds-start").tolist() == [400, 1199]
    assert features[0].parts[0].strand == PLUS


TOKENIZERS = {
    "char": ("char", {}, 1),
    "kmer": ("kmer", {"k": 3}, 3),
    "overlapping": ("kmer", {"k": 3, "stride": 1}, 1),
    "bpe": ("bpe", {"vocab_size": 24}, 3),
}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_windows_of_an_annotated_class_hold_its_places(kind: str, tmp_path: Path) -> None:
    # The start codons of the genes are in a sequence that occurs nowhere else.
    marker, dna = "ATGCCCCCCCCCCCCCCTAA", random_dna(4000, 8)
    for start in (603, 1800, 2901):
        dna = dna[:start] + marker + dna[start + len(marker) :]
    rows = [f"CDS {start + 1}..{start + 300}" for start in (603, 1800, 2901)]
    path = tmp_path / "g.gb"
    path.write_text(genbank(dna, *rows))
    store = Store(tmp_path / "cache")
    tokenizer, settings, size = TOKENIZERS[kind]
    request = TokenizeRequest(
        name="c",
        files=(path,),
        tokenizer=tokenizer,
        settings=settings,
        split=SplitConfig(by=SplitBy.TAIL),
    )
    folder = tokenize_genomes(request, reporter=Listening(), store=store).folder
    corpus = Corpus(folder)
    listening = Listening()
    for name in ("cds-start", "cds-start:g"):
        mix = open_mixture(corpus, SamplingConfig(mix={name: 1.0}), store, listening)
        assert mix.groups[0].anchors_A2 is not None
        assert len(mix.groups[0].anchors_A2) == 3
        assert groups_sha256(mix.groups) != groups_sha256(()) == ""
        length = 192 // size
        drawn = sampler(corpus, mix.groups, length=length)
        assert drawn.num_windows == 3
        found = []
        for row in drawn.batch(0)[0].tokens_BL:
            text = corpus.tokenizer.decode(row.astype(corpus.tokenizer.dtype))
            assert text in dna
            found.append(dna.index(text))
            assert marker[:14] in text
        assert len(set(found)) > 3
    drawn = sampler(corpus, mix.groups, length=length, jitter=0.0)
    fixed = {row.tobytes() for step in range(3) for row in drawn.batch(step)[0].tokens_BL}
    assert len(fixed) == 3
    with pytest.raises(ConfigError, match="as long as a window"):
        sampler(corpus, mix.groups, length=5000, short="skip")


def test_windows_of_repeats_are_drawn_by_their_weight(tmp_path: Path) -> None:
    upper, half = random_dna(64 * 50, 1), random_dna(64 * 50, 2)
    lower = random_dna(64 * 100, 3).lower()
    mixed = "".join(half[n : n + 32] + half[n + 32 : n + 64].lower() for n in range(0, 3200, 64))
    split = SplitConfig(by=SplitBy.RECORD, holdout=("held",))
    records = {"upper": upper, "lower": lower, "mixed": mixed, "held": random_dna(99)}
    corpus = build_corpus(tmp_path / "c", records, split=split)
    drawn = sampler(corpus, repeat_weight=0.2)
    assert drawn.num_windows == 50 + 0.2 * 100 + 0.6 * 50
    drawn = sampler(corpus, repeat_weight=0.2, batch_size=100)
    counts = dict.fromkeys(("upper", "lower", "mixed"), 0)
    for row in rows_of(corpus, drawn, range(20)):
        (name,) = [name for name in counts if row in records[name].upper()]
        counts[name] += 1
    assert counts == {"upper": 1000, "lower": 400, "mixed": 600}
    repeats = Group(
        name="lower", share=1.0, segments=[s for s in corpus.segments() if s.record == "lower"]
    )
    with pytest.raises(ConfigError, match="leaves no window of lower"):
        sampler(corpus, [repeats], repeat_weight=0.0)


def test_the_weight_of_repeats_changes_nothing_without_repeats(corpus: Corpus) -> None:
    plain, weighted = sampler(corpus), sampler(corpus, repeat_weight=0.1)
    for step in range(3):
        assert (plain.batch(step)[0].tokens_BL == weighted.batch(step)[0].tokens_BL).all()


def test_either_strand_of_a_mixture_is_read(corpus: Corpus, tmp_path: Path) -> None:
    groups = mixture(corpus, tmp_path, a=1).groups
    rows = rows_of(corpus, sampler(corpus, groups, reverse_complement=True), range(10))
    forward = sum(any(row in dna for dna in SEQUENCES.values()) for row in rows)
    backward = sum(
        any(reverse_complement(row) in dna for dna in SEQUENCES.values()) for row in rows
    )
    assert forward + backward == len(rows)
    assert min(forward, backward) > 10
    assert encode_bases(rows[0]).size == LENGTH
