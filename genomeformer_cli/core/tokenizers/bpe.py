"""Byte-pair encoding: tokens of the letters that stand together most often in a sample of bases.

Every N is a token. Each stretch of A C G T between two N is cut into pieces of 512 bases from its
start, and each piece is encoded for itself; no token reaches over the end of a piece. So a
chromosome is encoded piece by piece, in bounded memory, and any tool does it the same way.

Merges are learned by the trainer of Hugging Face `tokenizers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import models, trainers

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES, Codes, decode_bases
from genomeformer_cli.core.tokenizers.acgt_runs import last_acgt_run
from genomeformer_cli.core.tokenizers.hf_json import plain_json, split
from genomeformer_cli.core.tokenizers.protocol import (
    FIRST_REAL_ID,
    SPECIAL_TOKENS,
    UNK_ID,
    Ids,
    Offsets,
    Positions,
    Settled,
    refuse_other_strand,
    smallest_dtype,
)
from genomeformer_cli.core.tokenizers.sampling import SampleRule, sample_windows

PIECE = 512
SMALLEST_VOCABULARY = len(SPECIAL_TOKENS) + len(BASES)
LARGEST_VOCABULARY = 1 << 16
_MIN_FREQUENCY = 2
_TEXT = 1 << 13
_BATCH = 1 << 20

Merges = tuple[tuple[str, str], ...]


class BpeTokenizer:
    """Learned tokens of any length up to a piece.

    Args:
        merges: Pairs of tokens that become one, the commonest first.
        settings: What it was trained on, as plain values; it decides no id.
    """

    kind = "bpe"
    one_token_a_base = False
    reads_both_strands = False

    def __init__(self, merges: Sequence[tuple[str, str]], settings: Mapping[str, Any]) -> None:
        self.merges: Merges = tuple((left, right) for left, right in merges)
        longer = dict.fromkeys(left + right for left, right in self.merges)
        self.tokens: tuple[str, ...] = (
            *SPECIAL_TOKENS,
            *BASES[:NUM_REAL_BASES],
            *longer,
            BASES[-1],
        )
        self.rules: tuple[str, ...] = tuple(f"{left} {right}" for left, right in self.merges)
        self.real_ids = range(FIRST_REAL_ID, len(self.tokens) - 1)
        self.dtype = smallest_dtype(len(self.tokens))
        self._settings = dict(settings)
        self._lengths = np.array([0] * FIRST_REAL_ID + [len(t) for t in self.tokens[5:]])
        self._plain = HuggingFaceTokenizer(self._model())
        self._plain.pre_tokenizer = split(_pieces(PIECE))

    def _model(self) -> models.BPE:
        vocabulary = {token: number for number, token in enumerate(self.tokens)}
        return models.BPE(
            vocab=vocabulary, merges=list(self.merges), unk_token=SPECIAL_TOKENS[UNK_ID]
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What it was trained on: `vocab_size`, and how the sample was drawn."""
        return dict(self._settings)

    def encode(self, codes: Codes) -> Ids:
        """Token ids of base codes."""
        found = [np.empty(0, dtype=self.dtype)]
        for texts in _batches(decode_bases(codes)):
            encodings = self._plain.encode_batch_fast(texts, add_special_tokens=False)
            num_tokens = sum(len(one) for one in encodings)
            ids = chain.from_iterable(one.ids for one in encodings)
            found.append(np.fromiter(ids, dtype=self.dtype, count=num_tokens))
        return np.concatenate(found)

    def decode(self, ids: Ids) -> str:
        """Bases of token ids; special tokens stand for nothing."""
        return "".join(self.tokens[number] for number in ids[ids >= FIRST_REAL_ID].tolist())

    def offsets(self, codes: Codes) -> Offsets:
        """First base and the one after the last of every token."""
        lengths = self._lengths[self.encode(codes)]
        ends = np.cumsum(lengths, dtype=np.int64)
        return np.stack([ends - lengths, ends], axis=1)

    def firsts(self, codes: Codes, ids: Ids) -> Positions:
        """First base of every token."""
        del codes
        lengths = self._lengths[ids]
        firsts: Positions = np.cumsum(lengths, dtype=np.int64) - lengths
        return firsts

    def settled(self, codes: Codes) -> Settled:
        """All whole pieces of the open stretch, and what is before it."""
        begin = last_acgt_run(codes)
        stop = codes.size - (codes.size - begin) % PIECE
        return Settled(stop, stop)

    def reverse_complement(self, ids: Ids) -> Ids:
        """Not to be had: merges are learned from one strand's letters.

        Raises:
            ConfigError: Always.
        """
        raise refuse_other_strand("a sequence of byte pairs")

    def to_json(self) -> dict[str, Any]:
        """The Hugging Face `tokenizers` JSON, which gives the same ids on any DNA string."""
        return plain_json(self._model(), split(_pieces(PIECE)))


def _pieces(longest: int) -> str:
    return f"[ACGT]{{1,{longest}}}|N"


def _batches(bases: str) -> Iterator[list[str]]:
    """Lists of texts of about `_BATCH` bases, cut only where pieces end."""
    texts: list[str] = []
    size = 0
    for text in _texts(bases):
        texts.append(text)
        size += len(text)
        if size >= _BATCH:
            yield texts
            texts, size = [], 0
    if texts:
        yield texts


def _texts(bases: str) -> Iterator[str]:
    """Texts of whole pieces.

    A stretch may be cut wherever a whole number of pieces is before, a run of N anywhere.
    """
    start = 0
    while start < len(bases):
        stop = min(start + _TEXT, len(bases))
        last_n = bases.rfind(BASES[-1], start, stop)
        if stop < len(bases) and last_n >= 0:
            stop = last_n + 1
        yield bases[start:stop]
        start = stop


def train_bpe(
    samples: Iterable[bytes], vocab_size: int, *, rule: SampleRule | None = None
) -> BpeTokenizer:
    """Learn merges from a bounded sample of sequences.

    Args:
        samples: Sequences, letters of any case; they are read once, one at a time.
        vocab_size: Tokens wanted, special ones included. A sample in which too few pairs occur
            twice gives fewer.
        rule: How the sample is drawn.

    Raises:
        ConfigError: The vocabulary is too small or too large, or there is no base to learn from.
        AlphabetError: A character is no nucleotide.
    """
    if not SMALLEST_VOCABULARY <= vocab_size <= LARGEST_VOCABULARY:
        raise ConfigError(
            f"a vocabulary of {vocab_size} byte pairs cannot be",
            hint=f"{SMALLEST_VOCABULARY} to {LARGEST_VOCABULARY}; 4096 is usual",
        )
    rule = rule or SampleRule()
    sample = sample_windows(samples, rule)
    if not sample.num_bases:
        raise ConfigError("there is no base to learn byte pairs from", hint="give longer sequences")
    trainer = trainers.BpeTrainer(
        # The special tokens and N are ours to add.
        vocab_size=vocab_size - len(SPECIAL_TOKENS) - 1,
        min_frequency=_MIN_FREQUENCY,
        initial_alphabet=list(BASES[:NUM_REAL_BASES]),
        limit_alphabet=NUM_REAL_BASES,
        show_progress=False,
    )
    learner = HuggingFaceTokenizer(models.BPE())
    learner.pre_tokenizer = split(_pieces(PIECE))
    learner.train_from_iterator(_stretches(sample.windows), trainer)
    merges = merges_of(plain_json(learner.model, split(".")))
    settings = {
        "vocab_size": SMALLEST_VOCABULARY + len({left + right for left, right in merges}),
        "vocab_size_asked_for": vocab_size,
        "sample_bases": sample.num_bases,
        "bases_seen": sample.num_seen,
        "sample_window": rule.window,
        "seed": rule.seed,
        "min_frequency": _MIN_FREQUENCY,
    }
    return BpeTokenizer(merges, settings)


def _stretches(windows: Iterable[str]) -> Iterator[str]:
    """Stretches without N."""
    for window in windows:
        yield from filter(None, window.split(BASES[-1]))


def merges_of(plain: Mapping[str, Any]) -> Merges:
    """Return the merges in a Hugging Face JSON, in either form that the library has written.

    Every merge joins two tokens that exist by then, so that the native library, which aborts on
    others, sees none.

    Raises:
        ValueError: The JSON has no merges, too many, or one that joins unknown tokens.
    """
    try:
        pairs = [
            tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge)
            for merge in plain["model"]["merges"]
        ]
        merges = tuple((left, right) for left, right in pairs)
    except (KeyError, TypeError, ValueError) as failure:
        raise ValueError(f"no merges: {failure}") from failure
    if len(merges) > LARGEST_VOCABULARY:
        raise ValueError(f"{len(merges):,} merges are more than {LARGEST_VOCABULARY:,}")
    known = set(BASES)
    for left, right in merges:
        if left not in known or right not in known or len(left) + len(right) > PIECE:
            raise ValueError("a merge joins tokens that do not exist, or makes one too long")
        known.add(left + right)
    return merges
