"""Greedy k-mers of `EsmTokenizer`: Nucleotide Transformer 1 and 2, AgroNT.

Every run of A C G T is cut into k-mers from its start, and the rest of the run into single bases.
Every N is a token. The encoding is lossless. The authors' tokenizer differs in other letters:
a lower-case sequence is one unknown token there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES, Codes
from genomeformer_cli.core.tokenizers.hf_json import split
from genomeformer_cli.core.tokenizers.kmer import MAX_K, KmerTokenizer
from genomeformer_cli.core.tokenizers.protocol import Ids, Offsets, Positions, StablePrefix
from genomeformer_cli.core.tokenizers.published.base import PublishedTokenizer, bases_of
from genomeformer_cli.core.tokenizers.published.files import vocabulary_json
from genomeformer_cli.core.tokenizers.published.vocabulary import Vocabulary


class GreedyKmerTokenizer(PublishedTokenizer):
    """k-mers without overlap, in the order of a published vocabulary.

    Args:
        vocabulary: All k-mers of one length, A C G T, N or a token of unknown parts.

    Raises:
        ValueError: The tokens of A C G T are others.
    """

    kind = "greedy-kmers"
    reads_both_strands = False

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(vocabulary, tuple(map(bases_of, vocabulary.tokens)))
        self.k = max(map(len, vocabulary.kmers), default=0)
        if not 1 <= self.k <= MAX_K:
            raise ValueError(f"k-mers of {self.k} bases; 1 to {MAX_K} are possible")
        self.one_token_per_base = self.k == 1
        self.rules = (f"greedy {self.k}",)
        self._cut = KmerTokenizer(self.k)
        unknown = vocabulary.ids.get(BASES[-1], self.unknown_id)
        if unknown is None:
            raise ValueError("neither `N` nor an unknown token")
        self._unknown = unknown
        real = self._cut.tokens[self._cut.real_ids.start : self._cut.real_ids.stop]
        missing = next((token for token in real if token not in vocabulary.kmers), None)
        if missing is not None or len(vocabulary.kmers) != len(real):
            raise ValueError(
                f"the {self.k}-mers are not complete: `{missing}` is missing"
                if missing
                else f"tokens of A C G T other than {self.k}-mers and single bases"
            )
        # Cut by our own k-mers, whose ids are then translated.
        self._published = np.full(len(self._cut.tokens), unknown, dtype=self.dtype)
        self._published[self._cut.real_ids] = [vocabulary.kmers[token] for token in real]
        self._texts = list(self.bases)
        self._texts[unknown] = BASES[-1]

    @property
    def settings(self) -> dict[str, Any]:
        """`k` and `stride`."""
        return {"k": self.k, "stride": self.k}

    def encode(self, codes: Codes) -> Ids:
        """Return the token ids of base codes."""
        ids: Ids = self._published[self._cut.encode(codes)]
        return ids

    def decode(self, ids: Ids) -> str:
        """Return the bases of token ids; special tokens are omitted."""
        return "".join(self._texts[number] for number in ids.tolist())

    def offsets(self, codes: Codes) -> Offsets:
        """Return the first base and the end (exclusive) of every token."""
        return self._cut.offsets(codes)

    def firsts(self, codes: Codes, ids: Ids) -> Positions:
        """Return the first base of every token."""
        return self._cut.firsts(codes, ids)

    def stable_prefix(self, codes: Codes) -> StablePrefix:
        """Return the position before the last k-mer of the open run."""
        return self._cut.stable_prefix(codes)

    def to_json(self) -> dict[str, Any]:
        """Return the Hugging Face `tokenizers` JSON, which gives equal ids on any DNA string."""
        letters = BASES[:NUM_REAL_BASES]
        return vocabulary_json(
            self.vocabulary, split(f"[{letters}]{{{self.k}}}|[{BASES}]"), is_text=True
        )
