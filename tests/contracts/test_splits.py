"""Every tokenizer with every split: no base of a held-out stretch is in a training token."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomeformer_cli.core.corpus.format import Split
from genomeformer_cli.core.corpus.reader import Corpus
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.sequence import encode_bases
from tests.corpora import build_corpus, random_dna
from tests.dna_tokenizers import TOKENIZERS
from tests.strategies import repeatable

Seen = dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]


def bases_seen(corpus: Corpus, sequences: dict[str, str], split: Split) -> Seen:
    """Mark the bases of each record that tokens of a split stand for."""
    seen = {name: np.zeros(len(sequence), dtype=np.bool_) for name, sequence in sequences.items()}
    for segment in corpus.segments(split):
        offsets = corpus.tokenizer.offsets(encode_bases(sequences[segment.record]))
        for first, last in offsets[segment.start : segment.start + segment.length]:
            seen[segment.record][first:last] = True
    return seen


@st.composite
def records(draw: st.DrawFn) -> dict[str, str]:
    """Draw records of random bases with runs of N, some shorter than a k-mer."""
    found = {}
    for number in range(draw(st.integers(2, 4))):
        pieces = draw(st.lists(st.integers(1, 40), min_size=1, max_size=5))
        found[f"r{number}"] = "N".join(
            random_dna(size, 10 * number + place) for place, size in enumerate(pieces)
        )
    return found


# Every example writes a corpus: not with 65,000 tokens.
@settings(repeatable, max_examples=repeatable.max_examples // 8)
@pytest.mark.parametrize("name", [name for name in TOKENIZERS if not name.startswith("8-mers")])
@given(
    sequences=records(),
    by=st.sampled_from([SplitBy.AUTO, SplitBy.TAIL, SplitBy.RECORD]),
    fraction=st.floats(0.05, 0.7),
)
def test_no_base_of_a_held_out_stretch_is_in_a_training_token(
    name: str, sequences: dict[str, str], by: SplitBy, fraction: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        split = SplitConfig(by=by, fraction=fraction)
        try:
            corpus = build_corpus(
                Path(folder) / "c", sequences, split=split, tokenizer=TOKENIZERS[name]()
            )
        except ConfigError:  # one side would be empty
            return
        trained, held = (bases_seen(corpus, sequences, part) for part in ("train", "validation"))
        for record in sequences:
            assert not (trained[record] & held[record]).any()
        lengths = dict.fromkeys(sequences, 0)
        for segment in corpus.segments():
            assert segment.start == lengths[segment.record], "segments follow each other"
            lengths[segment.record] += segment.length
        tokens = {r: corpus.tokenizer.encode(encode_bases(s)).size for r, s in sequences.items()}
        assert lengths == tokens, "every token is trained on, held out or unused"


@pytest.mark.parametrize("name", TOKENIZERS)
def test_no_more_is_left_unused_than_overlaps(name: str, tmp_path: Path) -> None:
    sequences = {"r": random_dna(700)}
    corpus = build_corpus(tmp_path / "c", sequences, tokenizer=TOKENIZERS[name]())
    trained, held = (bases_seen(corpus, sequences, part)["r"] for part in ("train", "validation"))
    assert held.any()
    longest = max(map(len, corpus.tokenizer.tokens[5:]))
    gap = (~trained & ~held).sum()
    assert gap < longest
    if corpus.tokenizer.settings.get("stride", 1) == corpus.tokenizer.settings.get("k", 1):
        assert gap == 0
        assert not corpus.segments("unused")
