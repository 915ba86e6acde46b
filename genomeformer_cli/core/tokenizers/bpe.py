"""Byte-pair encoding: tokens of frequently adjacent letters, trained on a sample of bases.

Every N is a token. Each run of A C G T is cut into pieces of 512 bases from its start, and each
piece is encoded independently; tokens never cross the end of a piece. A chromosome is therefore
encoded in bounded memory, with the same result in any tool.

Merges are trained by Hugging Face `tokenizers`.
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
    OrderedVocabulary,
    Positions,
    StablePrefix,
    other_strand_error,
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


class BpeTokenizer(OrderedVocabulary):
    """Trained tokens of any length up to a piece.

    Args:
        merges: Pairs of tokens that are merged, most frequent first.
        settings: Training settings as plain values; they do not affect the ids.
    """

    kind = "bpe"
    one_token_per_base = False
    reads_both_strands = False

    def __init__(self, merges: Sequence[tuple[str, str]], settings: Mapping[str, Any]) -> None:
        self.merges: Merges = tuple((left, right) for left, right in merges)
        joined_tokens = dict.fromkeys(left + right for left, right in self.merges)
        self.tokens: tuple[str, ...] = (
            *SPECIAL_TOKENS,
            *BASES[:NUM_REAL_BASES],
            *joined_tokens,
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
        """Training settings: `vocab_size`, and how the sample was drawn."""
        return dict(self._settings)

    def encode(self, codes: Codes) -> Ids:
        """Return the token ids of base codes."""
        id_arrays = [np.empty(0, dtype=self.dtype)]
        for texts in _batches(decode_bases(codes)):
            encodings = self._plain.encode_batch_fast(texts, add_special_tokens=False)
            num_tokens = sum(len(encoding) for encoding in encodings)
            ids = chain.from_iterable(encoding.ids for encoding in encodings)
            id_arrays.append(np.fromiter(ids, dtype=self.dtype, count=num_tokens))
        return np.concatenate(id_arrays)

    def decode(self, ids: Ids) -> str:
        """Return the bases of token ids; special tokens are omitted."""
        return "".join(self.tokens[number] for number in ids[ids >= FIRST_REAL_ID].tolist())

    def offsets(self, codes: Codes) -> Offsets:
        """Return the first base and the end (exclusive) of every token."""
        lengths = self._lengths[self.encode(codes)]
        ends = np.cumsum(lengths, dtype=np.int64)
        return np.stack([ends - lengths, ends], axis=1)

    def firsts(self, codes: Codes, ids: Ids) -> Positions:
        """Return the first base of every token."""
        del codes
        lengths = self._lengths[ids]
        firsts: Positions = np.cumsum(lengths, dtype=np.int64) - lengths
        return firsts

    def stable_prefix(self, codes: Codes) -> StablePrefix:
        """Return the end of the last whole piece of the open run."""
        begin = last_acgt_run(codes)
        stop = codes.size - (codes.size - begin) % PIECE
        return StablePrefix(stop, stop)

    def reverse_complement(self, ids: Ids) -> Ids:
        """Raise an error: merges are trained on the letters of one strand.

        Raises:
            ConfigError: Always.
        """
        raise other_strand_error("byte pairs")

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face `tokenizers` JSON, which gives equal ids on any DNA string."""
        return plain_json(self._model(), split(_pieces(PIECE)))


def _pieces(longest: int) -> str:
    return f"[ACGT]{{1,{longest}}}|N"


def _batches(bases: str) -> Iterator[list[str]]:
    """Yield lists of texts of about `_BATCH` bases, cut only at the ends of pieces."""
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
    """Yield texts of whole pieces.

    A run may be cut after a whole number of pieces, a sequence of N anywhere.
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
    """Train merges on a bounded sample of sequences.

    Args:
        samples: Sequences, letters of any case; read once, one at a time.
        vocab_size: Number of tokens including special ones. The vocabulary is smaller if too few
            pairs occur twice in the sample.
        rule: Size and seed of the sample.

    Raises:
        ConfigError: The vocabulary size is invalid, or the sequences have no bases.
        AlphabetError: A character is not a nucleotide code.
    """
    if not SMALLEST_VOCABULARY <= vocab_size <= LARGEST_VOCABULARY:
        raise ConfigError(
            f"invalid vocabulary size {vocab_size}",
            hint=f"{SMALLEST_VOCABULARY} to {LARGEST_VOCABULARY}; 4096 is usual",
        )
    rule = rule or SampleRule()
    sample = sample_windows(samples, rule)
    if not sample.num_bases:
        raise ConfigError(
            "the sequences hold no bases to train byte pairs on", hint="give longer sequences"
        )
    trainer = trainers.BpeTrainer(
        # The special tokens and N are added afterwards.
        vocab_size=vocab_size - len(SPECIAL_TOKENS) - 1,
        min_frequency=_MIN_FREQUENCY,
        initial_alphabet=list(BASES[:NUM_REAL_BASES]),
        limit_alphabet=NUM_REAL_BASES,
        show_progress=False,
    )
    model = HuggingFaceTokenizer(models.BPE())
    model.pre_tokenizer = split(_pieces(PIECE))
    model.train_from_iterator(_runs(sample.windows), trainer)
    merges = merges_of(plain_json(model.model, split(".")))
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


def _runs(windows: Iterable[str]) -> Iterator[str]:
    """Yield the runs without N."""
    for window in windows:
        yield from filter(None, window.split(BASES[-1]))


def merges_of(plain: Mapping[str, Any]) -> Merges:
    """Return the merges in a Hugging Face JSON, in either form of the library.

    Every merge is checked to join two existing tokens, because the native library aborts on others.

    Raises:
        ValueError: The JSON has no merges, too many, or one of unknown tokens.
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
    tokens = set(BASES)
    for left, right in merges:
        if left not in tokens or right not in tokens or len(left) + len(right) > PIECE:
            raise ValueError("a merge joins tokens that do not exist, or makes one too long")
        tokens.add(left + right)
    return merges
