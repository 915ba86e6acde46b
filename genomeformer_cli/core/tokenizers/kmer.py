"""k-mers at every `stride`-th base: 1 overlaps (DNABERT), k does not (Nucleotide Transformer).

Each stretch of A C G T between two N is cut for itself: k-mers as long as whole ones fit, then
base by base what the last of them does not cover, so that a stretch shorter than k is spelled.
Every N is a token. For stride k this is the rule of the Nucleotide Transformer; no base is lost
with any other.
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
    Positions,
    Settled,
    refuse_other_strand,
    smallest_dtype,
)

MAX_K = 8
DEFAULT_K = 6
# A block and what is computed of it stay in the processor's cache.
_BLOCK = 1 << 17
# Stretches shorter than this are cut many at a time, by positions instead of by shifts.
_LONG = 1 << 12
_GROUP = 1 << 20


class KmerTokenizer:
    """k-mers of one length.

    Args:
        k: Bases in a token, 1 to 8.
        stride: Bases from one k-mer to the next, 1 to k; None: k, which is without overlap.

    Raises:
        ConfigError: k or the stride is out of range.
    """

    kind = "kmer"

    def __init__(self, k: int = DEFAULT_K, stride: int | None = None) -> None:
        stride = k if stride is None else stride
        if isinstance(k, bool) or not 1 <= k <= MAX_K:
            raise ConfigError(f"k-mers of {k} bases cannot be", hint=f"k is 1 to {MAX_K}")
        if isinstance(stride, bool) or not 1 <= stride <= k:
            raise ConfigError(
                f"a stride of {stride} bases cannot be with k-mers of {k}",
                hint=f"1 overlaps as much as can be, {k} not at all",
            )
        self.k = k
        self.stride = stride
        words = ["".join(letters) for letters in product(BASES[:NUM_REAL_BASES], repeat=k)]
        real = BASES[:NUM_REAL_BASES] if k > 1 else ""
        self.tokens: tuple[str, ...] = (*SPECIAL_TOKENS, *real, *words, BASES[-1])
        self.rules: tuple[str, ...] = (f"stride {stride}",)
        self.real_ids = range(FIRST_REAL_ID, len(self.tokens) - 1)
        self.dtype = smallest_dtype(len(self.tokens))
        self.one_token_a_base = k == 1
        self.reads_both_strands = stride == 1
        self._first_word = FIRST_REAL_ID + len(real)
        self._single_ids = np.array([*range(FIRST_REAL_ID, FIRST_REAL_ID + 4), 0], self.dtype)
        self._single_ids[-1] = self._unknown = len(self.tokens) - 1

    @property
    def settings(self) -> dict[str, Any]:
        """`k` and `stride`."""
        return {"k": self.k, "stride": self.stride}

    def encode(self, codes: Codes) -> Ids:
        """Token ids of base codes."""
        starts, ends = acgt_runs(codes)
        num_words, num_singles = self._counts(ends - starts)
        # Stretch i with the N before it; what follows the last stretch comes by itself.
        gaps = starts - np.concatenate([[0], ends[:-1]]) if starts.size else starts
        last = codes.size - int(ends[-1]) if ends.size else codes.size
        ids = np.full(int((gaps + num_words + num_singles).sum()) + last, self._unknown, self.dtype)
        ends_of_ids = np.cumsum(gaps + num_words + num_singles)
        is_long = ends - starts >= _LONG
        row = 0
        while row < starts.size:
            at = int(ends_of_ids[row - 1] if row else 0) + int(gaps[row])
            if is_long[row]:
                stretch = codes[starts[row] : ends[row]]
                self._encode_long(stretch, ids[at : int(ends_of_ids[row])], int(num_words[row]))
                row += 1
                continue
            first, row = row, self._end_of_group(starts, ends, is_long, row)
            group = codes[starts[first] : ends[row - 1]]
            ids[at : int(ends_of_ids[row - 1])] = self._encode_short(group)
        return ids

    def _end_of_group(
        self, starts: Positions, ends: Positions, is_long: npt.NDArray[np.bool_], row: int
    ) -> int:
        """The row after the last of the short stretches that are cut together with this one."""
        within = int(np.searchsorted(ends, starts[row] + _GROUP, side="right"))
        stop = max(within, row + 1)
        return row + int(np.argmax(np.append(is_long[row:stop], True)))

    def _counts(self, lengths: Positions) -> tuple[Positions, Positions]:
        """k-mers and single bases of stretches of these lengths."""
        num_words = np.maximum((lengths - self.k) // self.stride + 1, 0)
        covered = np.where(num_words, (num_words - 1) * self.stride + self.k, 0)
        return num_words, lengths - covered

    def _encode_long(self, codes: Codes, ids: Ids, num_words: int) -> None:
        """Fill in the ids of one stretch without N."""
        per_block = _BLOCK // self.stride
        for first in range(0, num_words, per_block):
            out = ids[first : min(first + per_block, num_words)]
            begin = first * self.stride
            reach = (out.size - 1) * self.stride + 1
            out[:] = codes[begin : begin + reach : self.stride]
            for place in range(begin + 1, begin + self.k):
                np.left_shift(out, 2, out=out)
                np.bitwise_or(out, codes[place : place + reach : self.stride], out=out)
            np.add(out, self._first_word, out=out)
        ids[num_words:] = self._single_ids[codes[codes.size - (ids.size - num_words) :]]

    def _encode_short(self, codes: Codes) -> Ids:
        """Ids of a piece with many N, by the place of every token."""
        starts, is_word = self._places(codes)
        ids = self._single_ids[codes[starts]]
        begins = starts[is_word]
        words = codes[begins].astype(self.dtype)
        for place in range(1, self.k):
            words = words << 2 | codes[begins + place]
        ids[is_word] = words + self.dtype.type(self._first_word)
        return ids

    def _places(self, codes: Codes) -> tuple[Positions, npt.NDArray[np.bool_]]:
        """Where each token starts, and whether it is a k-mer."""
        starts, ends = acgt_runs(codes)
        num_words, num_singles = self._counts(ends - starts)
        before = np.concatenate([np.zeros(1, dtype=np.int64), ends])
        gaps = np.append(starts, codes.size) - before
        zero = np.zeros(1, dtype=np.int64)
        # The N before a stretch, its k-mers, the bases they leave; then the N at the end.
        counts = np.stack([gaps, np.append(num_words, zero), np.append(num_singles, zero)], axis=1)
        firsts = np.stack(
            [before, np.append(starts, zero), np.append(ends - num_singles, zero)], axis=1
        )
        steps = np.broadcast_to(np.array([1, self.stride, 1]), counts.shape)
        kinds = np.broadcast_to(np.array([False, True, False]), counts.shape)
        places = ranges(firsts.ravel(), counts.ravel(), steps.ravel())
        return places, np.repeat(kinds.ravel(), counts.ravel())

    def decode(self, ids: Ids) -> str:
        """Bases of token ids; k-mers side by side overlap, a special token parts them."""
        is_word = (ids >= self._first_word) & (ids < self._unknown)
        letters = np.frombuffer(BASES.encode("ascii"), dtype=np.uint8)
        words = np.where(is_word, ids, self._first_word).astype(np.int64) - self._first_word
        shifts = np.arange(self.k - 1, -1, -1) * 2
        spelled_TK = letters[words[:, None] >> shifts & 3]
        singles = np.zeros(len(self.tokens), dtype=np.uint8)
        singles[self._single_ids] = letters
        spelled_TK[~is_word, -1] = singles[ids[~is_word]]
        goes_on = is_word & np.append(False, is_word[:-1])
        shown = np.where(is_word, np.where(goes_on, self.stride, self.k), 1)
        shown[ids < FIRST_REAL_ID] = 0
        shown_TK = np.arange(self.k) >= self.k - shown[:, None]
        text: bytes = spelled_TK[shown_TK].tobytes()
        return text.decode("ascii")

    def offsets(self, codes: Codes) -> Offsets:
        """First base and the one after the last of every token."""
        starts, is_word = self._places(codes)
        return np.stack([starts, starts + np.where(is_word, self.k, 1)], axis=1)

    def firsts(self, codes: Codes, ids: Ids) -> Positions:
        """First base of every token."""
        del ids
        return self._places(codes)[0]

    def settled(self, codes: Codes) -> Settled:
        """All k-mers but the last of the open stretch.

        The last one stays behind: from it the rest is cut as it is cut after the others. Alone,
        the bases that it shares with the one before would be spelled.
        """
        begin = last_acgt_run(codes)
        num_words = max((codes.size - begin - self.k) // self.stride + 1, 0)
        if num_words < 2:
            return Settled(begin, begin)
        resume = begin + (num_words - 1) * self.stride
        return Settled(resume + self.k - self.stride, resume)

    def reverse_complement(self, ids: Ids) -> Ids:
        """Token ids of the other strand; N and special tokens stay what they are.

        Raises:
            ConfigError: The stride is not 1, so the other strand is cut elsewhere.
        """
        if not self.reads_both_strands:
            raise refuse_other_strand(f"{self.k}-mers of stride {self.stride}")
        complement = np.arange(len(self.tokens), dtype=self.dtype)
        complement[FIRST_REAL_ID : FIRST_REAL_ID + 4] = complement[self._single_ids[3::-1]]
        words = np.arange(NUM_REAL_BASES**self.k)
        others = np.zeros_like(words)
        for place in range(self.k):
            others = others << 2 | 3 - (words >> 2 * place & 3)
        complement[self._first_word : self._unknown] = others + self._first_word
        return complement[ids[::-1]]

    def to_json(self) -> dict[str, Any]:
        """The Hugging Face `tokenizers` JSON, which gives the same ids on any DNA string."""
        vocabulary = {token: number for number, token in enumerate(self.tokens)}
        model = models.WordLevel(vocab=vocabulary, unk_token=SPECIAL_TOKENS[UNK_ID])
        cut = split(f"[ACGT]{{{self.k}}}|[ACGTN]")
        overlaps = self.stride < self.k
        if overlaps:
            cut = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), cut])
        return plain_json(model, cut, rules=self._overlap_rules(), joins=not overlaps)

    def _overlap_rules(self) -> list[Rule]:
        """Replacements that write overlapping k-mers out, with blanks between.

        A tokenizer of that library can only divide text, so overlapping text must be repeated
        first. A blank is set after every `stride` bases; then each piece is handed, letter by
        letter, the next letter it lacks from the piece behind it. At the end of a stretch, what
        repeats others is removed.
        """
        k, stride = self.k, self.stride
        if stride == k:
            return []
        rules = [(rf"[ACGT]{{{stride}}}\K", " ")]
        rules += [
            (f" (?=[ACGT]{{{lacking}}}{base})", f"{base} ")
            for lacking in range(k - stride)
            for base in BASES[:NUM_REAL_BASES]
        ]
        rules.append((rf"(?<![ACGT])[ACGT]{{1,{k - 1}}}\K(?: [ACGT]*)+", ""))
        rules.append((f" [ACGT]{{1,{k - stride}}}(?=[ACGT]{{0,{stride - 1}}}(?![ACGT]))", " "))
        return rules
