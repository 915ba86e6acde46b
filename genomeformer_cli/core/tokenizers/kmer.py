"""k-mers at every `stride`-th base: stride 1 as in DNABERT, stride k as in Nucleotide Transformer.

Each run of A C G T is cut independently: k-mers while they fit, then single bases for the rest, so
a run shorter than k becomes single bases. Every N is a token. For stride k this is the rule of the
Nucleotide Transformer; every other stride also covers all bases.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import models, pre_tokenizers

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES, Codes
from genomeformer_cli.core.tokenizers.acgt_runs import acgt_runs, last_acgt_run, ranges
from genomeformer_cli.core.tokenizers.hf_json import Rule, plain_json, split
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

MAX_K = 8
DEFAULT_K = 6
# A block and its intermediate results fit in the processor cache.
_BLOCK = 1 << 17
# Shorter runs are cut in groups, by positions instead of shifts.
_LONG = 1 << 12
_GROUP = 1 << 20


class KmerTokenizer(OrderedVocabulary):
    """k-mers of one length.

    Args:
        k: Number of bases per token, 1 to 8.
        stride: Distance between k-mers, 1 to k; k (no overlap) by default.

    Raises:
        ConfigError: k or the stride is out of range.
    """

    kind = "kmer"

    def __init__(self, k: int = DEFAULT_K, stride: int | None = None) -> None:
        stride = k if stride is None else stride
        if isinstance(k, bool) or not 1 <= k <= MAX_K:
            raise ConfigError(f"invalid k-mer length {k}", hint=f"k is 1 to {MAX_K}")
        if isinstance(stride, bool) or not 1 <= stride <= k:
            raise ConfigError(
                f"invalid stride {stride} for k-mers of {k} bases",
                hint=f"from 1 (maximal overlap) to {k} (no overlap)",
            )
        self.k = k
        self.stride = stride
        kmers = ["".join(letters) for letters in product(BASES[:NUM_REAL_BASES], repeat=k)]
        real = BASES[:NUM_REAL_BASES] if k > 1 else ""
        self.tokens: tuple[str, ...] = (*SPECIAL_TOKENS, *real, *kmers, BASES[-1])
        self.rules: tuple[str, ...] = (f"stride {stride}",)
        self.real_ids = range(FIRST_REAL_ID, len(self.tokens) - 1)
        self.dtype = smallest_dtype(len(self.tokens))
        self.one_token_per_base = k == 1
        self.reads_both_strands = stride == 1
        self._first_kmer = FIRST_REAL_ID + len(real)
        self._single_ids = np.array([*range(FIRST_REAL_ID, FIRST_REAL_ID + 4), 0], self.dtype)
        self._single_ids[-1] = self._unknown = len(self.tokens) - 1

    @property
    def settings(self) -> dict[str, Any]:
        """`k` and `stride`."""
        return {"k": self.k, "stride": self.stride}

    def encode(self, codes: Codes) -> Ids:
        """Return the token ids of base codes."""
        starts, ends = acgt_runs(codes)
        num_kmers, num_singles = self._counts(ends - starts)
        # Tokens of run i and of the N before it; the N after the last run are added separately.
        gaps = starts - np.concatenate([[0], ends[:-1]]) if starts.size else starts
        last = codes.size - int(ends[-1]) if ends.size else codes.size
        ids = np.full(int((gaps + num_kmers + num_singles).sum()) + last, self._unknown, self.dtype)
        ends_of_ids = np.cumsum(gaps + num_kmers + num_singles)
        is_long = ends - starts >= _LONG
        row = 0
        while row < starts.size:
            position = int(ends_of_ids[row - 1] if row else 0) + int(gaps[row])
            if is_long[row]:
                run = codes[starts[row] : ends[row]]
                self._encode_long(run, ids[position : int(ends_of_ids[row])], int(num_kmers[row]))
                row += 1
                continue
            first, row = row, self._end_of_group(starts, ends, is_long, row)
            group = codes[starts[first] : ends[row - 1]]
            ids[position : int(ends_of_ids[row - 1])] = self._encode_short(group)
        return ids

    def _end_of_group(
        self, starts: Positions, ends: Positions, is_long: npt.NDArray[np.bool_], row: int
    ) -> int:
        """Return the end of the group of short runs that are cut together."""
        within = int(np.searchsorted(ends, starts[row] + _GROUP, side="right"))
        stop = max(within, row + 1)
        return row + int(np.argmax(np.append(is_long[row:stop], True)))

    def _counts(self, lengths: Positions) -> tuple[Positions, Positions]:
        """Return the numbers of k-mers and single bases of runs of these lengths."""
        num_kmers = np.maximum((lengths - self.k) // self.stride + 1, 0)
        covered = np.where(num_kmers, (num_kmers - 1) * self.stride + self.k, 0)
        return num_kmers, lengths - covered

    def _encode_long(self, codes: Codes, ids: Ids, num_kmers: int) -> None:
        """Fill in the ids of one run without N."""
        per_block = _BLOCK // self.stride
        for first in range(0, num_kmers, per_block):
            out = ids[first : min(first + per_block, num_kmers)]
            begin = first * self.stride
            reach = (out.size - 1) * self.stride + 1
            out[:] = codes[begin : begin + reach : self.stride]
            for offset in range(begin + 1, begin + self.k):
                np.left_shift(out, 2, out=out)
                np.bitwise_or(out, codes[offset : offset + reach : self.stride], out=out)
            np.add(out, self._first_kmer, out=out)
        ids[num_kmers:] = self._single_ids[codes[codes.size - (ids.size - num_kmers) :]]

    def _encode_short(self, codes: Codes) -> Ids:
        """Return the ids of a range with many N, by the position of every token."""
        starts, is_kmer = self._positions(codes)
        ids = self._single_ids[codes[starts]]
        begins = starts[is_kmer]
        kmers = codes[begins].astype(self.dtype)
        for offset in range(1, self.k):
            kmers = kmers << 2 | codes[begins + offset]
        ids[is_kmer] = kmers + self.dtype.type(self._first_kmer)
        return ids

    def _positions(self, codes: Codes) -> tuple[Positions, npt.NDArray[np.bool_]]:
        """Return the first base of each token, and True for k-mers."""
        starts, ends = acgt_runs(codes)
        num_kmers, num_singles = self._counts(ends - starts)
        before = np.concatenate([np.zeros(1, dtype=np.int64), ends])
        gaps = np.append(starts, codes.size) - before
        zero = np.zeros(1, dtype=np.int64)
        # Per row: the N before a run, its k-mers, its remaining bases. Last row: the final N.
        counts = np.stack([gaps, np.append(num_kmers, zero), np.append(num_singles, zero)], axis=1)
        firsts = np.stack(
            [before, np.append(starts, zero), np.append(ends - num_singles, zero)], axis=1
        )
        steps = np.broadcast_to(np.array([1, self.stride, 1]), counts.shape)
        kinds = np.broadcast_to(np.array([False, True, False]), counts.shape)
        positions = ranges(firsts.ravel(), counts.ravel(), steps.ravel())
        return positions, np.repeat(kinds.ravel(), counts.ravel())

    def decode(self, ids: Ids) -> str:
        """Return the bases of token ids; adjacent k-mers overlap, special tokens separate them."""
        is_kmer = (ids >= self._first_kmer) & (ids < self._unknown)
        letters = np.frombuffer(BASES.encode("ascii"), dtype=np.uint8)
        kmers = np.where(is_kmer, ids, self._first_kmer).astype(np.int64) - self._first_kmer
        shifts = np.arange(self.k - 1, -1, -1) * 2
        letters_TK = letters[kmers[:, None] >> shifts & 3]
        singles = np.zeros(len(self.tokens), dtype=np.uint8)
        singles[self._single_ids] = letters
        letters_TK[~is_kmer, -1] = singles[ids[~is_kmer]]
        continues = is_kmer & np.append(False, is_kmer[:-1])
        num_shown = np.where(is_kmer, np.where(continues, self.stride, self.k), 1)
        num_shown[ids < FIRST_REAL_ID] = 0
        is_shown_TK = np.arange(self.k) >= self.k - num_shown[:, None]
        text: bytes = letters_TK[is_shown_TK].tobytes()
        return text.decode("ascii")

    def offsets(self, codes: Codes) -> Offsets:
        """Return the first base and the end (exclusive) of every token."""
        starts, is_kmer = self._positions(codes)
        return np.stack([starts, starts + np.where(is_kmer, self.k, 1)], axis=1)

    def firsts(self, codes: Codes, ids: Ids) -> Positions:
        """Return the first base of every token."""
        del ids
        return self._positions(codes)[0]

    def stable_prefix(self, codes: Codes) -> StablePrefix:
        """Return the position before the last k-mer of the open run.

        The last k-mer is left for the next call, so that the run continues with the same phase.
        Without it, the bases that it shares with the previous k-mer would become single-base
        tokens.
        """
        begin = last_acgt_run(codes)
        num_kmers = max((codes.size - begin - self.k) // self.stride + 1, 0)
        if num_kmers < 2:
            return StablePrefix(begin, begin)
        resume = begin + (num_kmers - 1) * self.stride
        return StablePrefix(resume + self.k - self.stride, resume)

    def reverse_complement(self, ids: Ids) -> Ids:
        """Return the token ids of the other strand; N and special tokens are unchanged.

        Raises:
            ConfigError: The stride is not 1, so the other strand has other token boundaries.
        """
        if not self.reads_both_strands:
            raise other_strand_error(f"{self.k}-mers of stride {self.stride}")
        complement = np.arange(len(self.tokens), dtype=self.dtype)
        complement[FIRST_REAL_ID : FIRST_REAL_ID + 4] = complement[self._single_ids[3::-1]]
        kmers = np.arange(NUM_REAL_BASES**self.k)
        complements = np.zeros_like(kmers)
        for offset in range(self.k):
            complements = complements << 2 | 3 - (kmers >> 2 * offset & 3)
        complement[self._first_kmer : self._unknown] = complements + self._first_kmer
        return complement[ids[::-1]]

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face `tokenizers` JSON, which gives equal ids on any DNA string."""
        vocabulary = {token: number for number, token in enumerate(self.tokens)}
        model = models.WordLevel(vocab=vocabulary, unk_token=SPECIAL_TOKENS[UNK_ID])
        pre_tokenizer = split(f"[ACGT]{{{self.k}}}|[ACGTN]")
        overlaps = self.stride < self.k
        if overlaps:
            pre_tokenizer = pre_tokenizers.Sequence(
                [pre_tokenizers.WhitespaceSplit(), pre_tokenizer]
            )
        return plain_json(model, pre_tokenizer, rules=self._overlap_rules(), joins=not overlaps)

    def _overlap_rules(self) -> list[Rule]:
        """Return replacements that expand overlapping k-mers into text separated by spaces.

        The library can only split text, so overlapping text is repeated first. A space is inserted
        after every `stride` bases; then each piece is extended, letter by letter, by the first
        letter of the next piece that it lacks. At the end of a run, repeated pieces are removed.
        """
        k, stride = self.k, self.stride
        if stride == k:
            return []
        rules = [(rf"[ACGT]{{{stride}}}\K", " ")]
        rules += [
            (f" (?=[ACGT]{{{num_missing}}}{base})", f"{base} ")
            for num_missing in range(k - stride)
            for base in BASES[:NUM_REAL_BASES]
        ]
        rules.append((rf"(?<![ACGT])[ACGT]{{1,{k - 1}}}\K(?: [ACGT]*)+", ""))
        rules.append((f" [ACGT]{{1,{k - stride}}}(?=[ACGT]{{0,{stride - 1}}}(?![ACGT]))", " "))
        return rules
