"""Batches are a function of (seed, step), cover every epoch once, and keep to their segment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.data.windows import Sampling, WindowSampler, consecutive_windows
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.sequence import reverse_complement
from genomeformer_cli.core.tokenizers.protocol import PAD_ID
from tests.corpora import build_corpus, random_dna

SEQUENCES = {"one": random_dna(2000, 1), "two": random_dna(700, 2), "short": random_dna(40, 3)}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return build_corpus(tmp_path / "corpus", SEQUENCES)


def sampler(corpus: Corpus, *, batch_size: int = 4, strands: bool = False) -> WindowSampler:
    sampling = Sampling(length=64, batch_size=batch_size, seed=7, reverse_complement=strands)
    return WindowSampler(corpus, "train", sampling)


def test_short_segments_are_skipped_if_requested(corpus: Corpus) -> None:
    sampling = Sampling(length=64, batch_size=4, seed=7, reverse_complement=False, short="skip")
    drawn = WindowSampler(corpus, "train", sampling)
    assert drawn.num_windows == sampler(corpus).num_windows - 1
    for step in range(drawn.num_windows // 4):
        assert (drawn.batch(step)[0].tokens_BL != PAD_ID).all()
    with pytest.raises(ConfigError, match="as long as a window"):
        WindowSampler(corpus, "train", replace(sampling, length=3000))


def letters(corpus: Corpus, tokens_L: np.ndarray) -> str:
    return corpus.tokenizer.decode(tokens_L[tokens_L != PAD_ID].astype(np.uint8))


def test_a_step_does_not_depend_on_the_steps_before_it(corpus: Corpus) -> None:
    walked = sampler(corpus, strands=True)
    batches = [walked.batch(step) for step in range(30)]
    for step in (29, 3, 17, 0):
        windows, generator = sampler(corpus, strands=True).batch(step)
        assert np.array_equal(windows.tokens_BL, batches[step][0].tokens_BL)
        assert generator.random() == sampler(corpus).batch(step)[1].random()


def test_an_epoch_visits_every_window_once_near_its_place(corpus: Corpus) -> None:
    drawn = sampler(corpus, batch_size=1)
    starts: dict[str, list[int]] = {name: [] for name in SEQUENCES}
    for step in range(drawn.num_windows):
        text = letters(corpus, drawn.batch(step)[0].tokens_BL[0])
        name = next(name for name, sequence in SEQUENCES.items() if text in sequence)
        starts[name].append(SEQUENCES[name].index(text))
    for name, sequence in SEQUENCES.items():
        train_length = len(sequence) - round(len(sequence) * 0.1)
        slots = np.arange(-(-train_length // 64))
        latest = max(train_length - 64, 0)
        assert len(starts[name]) == len(slots)
        places = np.clip(slots * 64, 0, latest)
        assert (np.abs(np.sort(starts[name]) - places) <= 32).all()


def test_epochs_differ_in_order_and_places(corpus: Corpus) -> None:
    drawn = sampler(corpus, batch_size=1)
    epochs = [
        [letters(corpus, drawn.batch(step)[0].tokens_BL[0]) for step in range(first, last)]
        for first, last in (
            (0, drawn.num_windows),
            (drawn.num_windows, 2 * drawn.num_windows),
        )
    ]
    assert epochs[0] != epochs[1]
    assert set(epochs[0]) != set(epochs[1])


def test_windows_come_from_the_training_split_only(corpus: Corpus) -> None:
    drawn = sampler(corpus, batch_size=8)
    trained = {name: s[: len(s) - round(len(s) * 0.1)] for name, s in SEQUENCES.items()}
    for step in range(2 * drawn.num_windows // 8):
        for row in drawn.batch(step)[0].tokens_BL:
            assert any(letters(corpus, row) in sequence for sequence in trained.values())


def test_either_strand_is_read_about_half_the_time(corpus: Corpus) -> None:
    drawn = sampler(corpus, batch_size=50, strands=True)
    rows = [letters(corpus, row) for step in range(8) for row in drawn.batch(step)[0].tokens_BL]
    forward = sum(any(row in s for s in SEQUENCES.values()) for row in rows)
    backward = sum(any(reverse_complement(row) in s for s in SEQUENCES.values()) for row in rows)
    assert forward + backward == len(rows)
    assert abs(forward - 200) < 4 * 10


def test_the_soft_mask_follows_the_bases_to_the_other_strand(tmp_path: Path) -> None:
    sequence = random_dna(30, 5) + random_dna(34, 6).lower() + random_dna(8, 7)
    corpus = build_corpus(tmp_path / "c", {"r": sequence})
    drawn = sampler(corpus, batch_size=16, strands=True)
    windows, _ = drawn.batch(0)
    for tokens_L, soft_mask_L in zip(windows.tokens_BL, windows.soft_mask_BL, strict=True):
        text = letters(corpus, tokens_L)
        shown = "".join(
            base.lower() if soft else base for base, soft in zip(text, soft_mask_L, strict=False)
        )
        assert shown in sequence or reverse_complement(shown) in sequence


def test_validation_windows_do_not_overlap_and_are_thinned_evenly(tmp_path: Path) -> None:
    split = SplitConfig(by=SplitBy.RECORD, holdout=("two",))
    corpus = build_corpus(tmp_path / "c", SEQUENCES, split=split)
    windows = consecutive_windows(corpus, "validation", length=64, limit=100).tokens_BL
    starts = [SEQUENCES["two"].index(letters(corpus, row)) for row in windows]
    assert starts == list(range(0, 700 - 63, 64))
    thinned = consecutive_windows(corpus, "validation", length=64, limit=3).tokens_BL
    assert [SEQUENCES["two"].index(letters(corpus, row)) for row in thinned] == [0, 256, 576]
