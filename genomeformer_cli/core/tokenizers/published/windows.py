"""k-mers at a fixed step from the first base: DNABERT, ProkBERT, GENERator, Carbon, characters.

A sequence is a row of windows of k bases, `stride` apart. A window that has no token, such as one
with an N, is one unknown token. A sequence shorter than k is one unknown token too, so that every
record has a token; the authors' code returns none for it, or pads it.

Bases after the last window, fewer than `stride`, have three rules:

| rest      | model     | bases after the last window                                       |
|-----------|-----------|-------------------------------------------------------------------|
| `join`    | ProkBERT  | belong to the last token, which they do not change                |
| `unknown` | GENERator | are one unknown token, as in the authors' code                    |
| `pad`     | Carbon    | are the k-mer that `A` completes them to, as in the authors' code |

`decode` returns all bases of sequences without N. Bases that only unknown tokens cover are returned
as N, one per place in the windows; the rest of a sequence is lost with `join`, and longer with
`unknown` and `pad`.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from tokenizers import pre_tokenizers

from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES, Codes, encode_bases
from genomeformer_cli.core.tokenizers.hf_json import Rule, split
from genomeformer_cli.core.tokenizers.kmer import MAX_K
from genomeformer_cli.core.tokenizers.protocol import Ids, Offsets, Positions, StablePrefix
from genomeformer_cli.core.tokenizers.published.base import PublishedTokenizer, bases_of
from genomeformer_cli.core.tokenizers.published.files import vocabulary_json
from genomeformer_cli.core.tokenizers.published.vocabulary import Vocabulary

Rest = Literal["join", "unknown", "pad"]
RESTS: tuple[str, ...] = get_args(Rest)
# A block and its intermediate results fit in the processor cache.
_BLOCK = 1 << 16
_NUM_CODES = len(BASES)
_LETTERS = np.frombuffer(BASES.encode("ascii"), dtype=np.uint8)
_SHORT = "-"


class WindowTokenizer(PublishedTokenizer):
    """k-mers at every `stride`-th base, in the order of a published vocabulary.

    Args:
        vocabulary: All k-mers of A C G T, and an unknown token unless all windows have tokens.
        k: Number of bases per token.
        stride: Distance between tokens, 1 to k.
        rest: Rule for the bases after the last window.
        lower: The vocabulary has lower-case letters.

    Raises:
        ValueError: The vocabulary lacks a k-mer or an unknown token, or a number is out of range.
    """

    kind = "windows"

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        k: int,
        stride: int,
        rest: Rest = "join",
        lower: bool = False,
    ) -> None:
        if not 1 <= k <= MAX_K or not 1 <= stride <= k:
            raise ValueError(f"invalid k-mers of {k} bases at a stride of {stride}")
        if rest not in RESTS:
            raise ValueError(f"invalid rule `{rest}` for the rest of a sequence")
        texts = tuple(
            bases_of(token.upper() if lower and token.islower() else "" if lower else token)
            for token in vocabulary.tokens
        )
        super().__init__(vocabulary, tuple(text if len(text) == k else "" for text in texts))
        self.k, self.stride, self.rest, self.lower = k, stride, rest, lower
        self.rules = (f"window {k} stride {stride} rest {rest}",)
        self.one_token_per_base = k == 1
        self.reads_both_strands = stride == 1
        if int(self.is_real.sum()) != NUM_REAL_BASES**k:
            raise ValueError(f"{int(self.is_real.sum()):,} of {NUM_REAL_BASES**k:,} {k}-mers")
        if len(vocabulary.kmers) > NUM_REAL_BASES**k:
            raise ValueError(f"tokens of A C G T other than {k}-mers")
        ids = {text: number for number, text in enumerate(self.bases) if text}
        unknown = self.unknown_id if self.unknown_id is not None else ids.get(BASES[-1] * k)
        if unknown is None:
            raise ValueError(f"no token for {k}-mers with N")
        self._unknown = unknown
        # Id by the digits of a window in base 5, so that an N needs no case of its own.
        self._table = np.full(_NUM_CODES**k, unknown, dtype=self.dtype)
        packed = np.array([_pack(text) for text in ids], dtype=np.int64)
        self._table[packed] = list(ids.values())
        self._codes_VK = _codes_by_id(self.bases, k)

    @property
    def settings(self) -> dict[str, Any]:
        """`k`, `stride`, and the rules for the rest of a sequence and for lower case."""
        return {"k": self.k, "stride": self.stride, "rest": self.rest, "lower": self.lower}

    def encode(self, codes: Codes) -> Ids:
        """Return the token ids of base codes."""
        num_windows = self._num_windows(codes.size)
        ids = np.full(self._num_tokens(codes.size), self._unknown, dtype=self.dtype)
        for first in range(0, num_windows, _BLOCK):
            stop = min(first + _BLOCK, num_windows)
            block = codes[first * self.stride : (stop - 1) * self.stride + self.k]
            ids[first:stop] = self._table[self._packed(block, stop - first)]
        if ids.size > num_windows and self.rest == "pad":
            tail = np.zeros(self.k, dtype=codes.dtype)
            rest = codes[num_windows * self.stride :]
            tail[: rest.size] = rest
            ids[-1] = self._table[self._packed(tail, 1)[0]]
        return ids

    def _packed(self, codes: Codes, num_windows: int) -> npt.NDArray[np.int32]:
        """Return the digits in base 5 of the windows of a block."""
        reach = (num_windows - 1) * self.stride + 1
        packed = codes[: reach : self.stride].astype(np.int32)
        for offset in range(1, self.k):
            packed *= _NUM_CODES
            packed += codes[offset : offset + reach : self.stride]
        return packed

    def _num_windows(self, size: int) -> int:
        return max((size - self.k) // self.stride + 1, 0)

    def _num_tokens(self, size: int) -> int:
        """Return the number of tokens of a sequence: its windows, and one for a rest."""
        num_windows = self._num_windows(size)
        covered = (num_windows - 1) * self.stride + self.k if num_windows else 0
        has_rest = covered < size and (self.rest != "join" or not num_windows)
        return num_windows + int(has_rest)

    def decode(self, ids: Ids) -> str:
        """Return the bases of token ids; special tokens separate overlapping ones."""
        codes_TK = self._codes_VK[ids]
        is_base = (codes_TK[:, 0] >= 0) | (ids == self._unknown)
        is_first = is_base & ~np.append(False, is_base[:-1])
        steps = np.where(is_first, self.k, self.stride) * is_base
        ends = np.cumsum(steps)
        letters = np.full(int(ends[-1]) if ends.size else 0, _NUM_CODES - 1, dtype=np.uint8)
        # Unknown tokens write nothing, so that other tokens of the same bases give their letters.
        for offset in range(self.k):
            display_name = is_base & (codes_TK[:, offset] >= 0)
            letters[ends[display_name] - self.k + offset] = codes_TK[display_name, offset]
        return _LETTERS[letters].tobytes().decode("ascii")

    def offsets(self, codes: Codes) -> Offsets:
        """Return the first base and the end (exclusive) of every token."""
        starts = self.firsts(codes, np.empty(0, dtype=self.dtype))
        offsets = np.stack([starts, np.minimum(starts + self.k, codes.size)], axis=1)
        if offsets.size:
            offsets[-1, 1] = codes.size
        return offsets

    def firsts(self, codes: Codes, ids: Ids) -> Positions:
        """Return the first base of every token."""
        del ids
        return np.arange(self._num_tokens(codes.size), dtype=np.int64) * self.stride

    def stable_prefix(self, codes: Codes) -> StablePrefix:
        """Return the position before the last window, which is left for the next call."""
        num_windows = self._num_windows(codes.size)
        if num_windows < 2:
            return StablePrefix(0, 0)
        resume = (num_windows - 1) * self.stride
        return StablePrefix(resume + self.k - self.stride, resume)

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face `tokenizers` JSON, which gives equal ids on any DNA string."""
        k = self.k
        letters = f"[{BASES}]"
        rules: list[Rule] = []
        if self.rest == "pad":
            rules += [
                (f"^(?:{letters}{{{k}}})*+{letters}{{{size}}}\\K$", "A" * (k - size))
                for size in range(1, k)
            ]
        elif self.rest == "join" and k > 1:
            # A sequence without a window becomes a piece that no vocabulary has.
            rules.append((f"^{letters}{{1,{k - 1}}}$", _SHORT))
        if self.stride == k:
            pieces = split(f"{letters}{{{k}}}|{letters}+|{_SHORT}" if k > 1 else ".")
            if self.rest == "join" and k > 1:
                rules.append((f"^(?:{letters}{{{k}}})++\\K{letters}{{1,{k - 1}}}$", ""))
        else:
            rules += self._overlap_rules(letters)
            pieces = pre_tokenizers.WhitespaceSplit()
        if self.lower:
            rules += [(base, base.lower()) for base in BASES[:NUM_REAL_BASES]]
        return vocabulary_json(
            self.vocabulary, pieces, rules=rules, is_text=self.stride == k and self.rest != "pad"
        )

    def _overlap_rules(self, letters: str) -> list[Rule]:
        """Return replacements that expand overlapping windows into text separated by spaces.

        A space is inserted after every `stride` bases; each piece is then extended, letter by
        letter, by the first letter of the next piece that it lacks. Pieces that remain too short
        are removed.
        """
        rules: list[Rule] = [(rf"{letters}{{{self.stride}}}\K", " ")]
        rules += [
            (f" (?={letters}{{{num_missing}}}{base})", f"{base} ")
            for num_missing in range(self.k - self.stride)
            for base in BASES
        ]
        rules.append((f"(?<!{letters}){letters}{{1,{self.k - 1}}}(?!{letters})", ""))
        return rules


def _pack(text: str) -> int:
    """Return the digits of a window in base 5."""
    return int("".join(map(str, encode_bases(text).tolist())), _NUM_CODES)


def _codes_by_id(bases: tuple[str, ...], k: int) -> npt.NDArray[np.int8]:
    """Return the base codes of every token (V, K); -1 for tokens without bases."""
    codes_VK = np.full((len(bases), k), -1, dtype=np.int8)
    for number, text in enumerate(bases):
        if text:
            codes_VK[number] = encode_bases(text)
    return codes_VK
