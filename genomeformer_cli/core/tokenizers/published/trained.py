"""Tokenizers of a published `tokenizer.json`: byte pairs and their kind.

DNABERT-2, GROVER, GENA-LM, ModernGENA, Mistral-DNA, METAGENE-1, and single characters in that form.
The Hugging Face library computes the ids, so that they are those of the authors' file; the tokens
around a sequence are read from its post-processor. Letters are read by the rule of `core.sequence`
first: the authors' tokenizers make unknown tokens of lower case and of most other codes.

Tokens of A C G T give back their bases. What is unknown to the vocabulary, and runs of N that it
shortens to one token, are decoded as one N per token.

A long sequence of byte pairs is encoded in blocks that overlap, and two blocks are joined at a
token that both have. The tokens are those of the whole sequence: a row of tokens is the encoding of
its text if and only if every two neighbours are the encoding of theirs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding
from tokenizers import Tokenizer as HuggingFaceTokenizer

from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES, Codes, decode_bases
from genomeformer_cli.core.tokenizers.protocol import Ids, Offsets, Positions, StablePrefix
from genomeformer_cli.core.tokenizers.published.base import PublishedTokenizer, bases_of
from genomeformer_cli.core.tokenizers.published.library import (
    library_errors,
    parse,
    without_limits,
)
from genomeformer_cli.core.tokenizers.published.untrusted import (
    WORD_PATTERNS,
    components,
    pattern_of,
)
from genomeformer_cli.core.tokenizers.published.vocabulary import (
    MAX_TOKEN_LENGTH,
    MAX_TOKENS,
    SpecialTokens,
    Vocabulary,
)
from genomeformer_cli.core.tokenizers.published.word_pieces import WordPieces

BLOCK, OVERLAP = 1 << 14, 1 << 10
_BATCH = 64
_UNUSED = "<unused id {}>"
_WORD_STARTS = ("##", "Ġ", "▁")
_WORD_END = "</w>"
_HASHED = ("normalizer", "pre_tokenizer", "model")
_WHOLE_WORDS = (
    *("Whitespace", "WhitespaceSplit", "BertPreTokenizer", "ByteLevel", "Metaspace"),
    *("Punctuation", "Digits"),
)


class TrainedTokenizer(PublishedTokenizer):
    """Tokenizer that the Hugging Face library runs.

    Args:
        document: Parsed `tokenizer.json`, untrusted.
        special: Tokens with a role.

    Raises:
        ValueError: The file is refused, or its tokens are not those of the bases.
    """

    kind = "huggingface"

    def __init__(self, document: Mapping[str, Any], special: SpecialTokens) -> None:
        self._document = without_limits(document)
        self._plain = parse(self._document)
        with library_errors():
            self._build(special)

    def _build(self, special: SpecialTokens) -> None:
        """Build the tables, and check them on random bases."""
        tokens = _tokens_by_id(self._plain)
        normalizer = self._plain.normalizer
        self._lower = normalizer is not None and normalizer.normalize_str("ACGT") == "acgt"
        bases = tuple(_bases(token, lower=self._lower) for token in tokens)
        super().__init__(Vocabulary(tokens=tokens, special=special), bases)
        if self._single_ids_are_ambiguous():
            self.base_ids = None
        # Tokens of the start of a word only, which cover no letter.
        self._is_mark = np.isin(np.array(tokens, dtype=object), _WORD_STARTS)
        self._num_bases = np.array([len(text) for text in bases], dtype=np.int64)
        self.rules = (_checksum(self._document),)
        self._drops_n = not self._plain.encode(BASES[-1], add_special_tokens=False).ids
        is_word = _is_one_word(self._document)
        model = self._document["model"]
        self._joins = is_word and _has_plain_merges(model)
        self._pieces = WordPieces(model) if is_word and model["type"] == "WordPiece" else None
        self._table = self._character_table()
        self.one_token_per_base = self._table is not None
        self.reads_both_strands = self.one_token_per_base
        self._check_bases()

    @property
    def settings(self) -> dict[str, Any]:
        """Empty: `tokenizer.json` holds everything."""
        return {}

    def encode(self, codes: Codes) -> Ids:
        """Return the token ids of base codes."""
        if self._table is not None:
            ids: Ids = self._table[codes]
            return ids
        return self._cut(codes)[0]

    def decode(self, ids: Ids) -> str:
        """Return the bases of token ids; one N per token that stands for other bases."""
        return "".join(self._texts[number] for number in ids.tolist())

    @cached_property
    def _texts(self) -> list[str]:
        """Text of every token: its bases, N for tokens of N without letters."""
        texts = list(self.bases)
        for size in (1, 10, 100, 1000):
            for number in self._plain.encode(BASES[-1] * size, add_special_tokens=False).ids:
                if not self._is_mark[number]:
                    texts[number] = texts[number] or BASES[-1]
        return texts

    def offsets(self, codes: Codes) -> Offsets:
        """Return the first base and the end (exclusive) of every token."""
        starts = self.firsts(codes, self.encode(codes))
        return np.stack([starts, np.append(starts[1:], codes.size)[: starts.size]], axis=1)

    def firsts(self, codes: Codes, ids: Ids) -> Positions:
        """Return the first base of every token."""
        if self.one_token_per_base:
            return np.arange(codes.size, dtype=np.int64)
        lengths = self._num_bases[ids]
        if lengths.all() and lengths.sum() == codes.size:
            firsts: Positions = np.cumsum(lengths) - lengths
            return firsts
        return self._cut(codes)[1]

    def stable_prefix(self, codes: Codes) -> StablePrefix:
        """Return 0, or the end of single characters: a later base can change all merges."""
        stop = codes.size if self.one_token_per_base else 0
        return StablePrefix(stop, stop)

    def to_json(self) -> dict[str, Any]:
        """Return the published `tokenizer.json`, without padding and truncation."""
        return dict(self._document)

    def _cut(self, codes: Codes) -> tuple[Ids, Positions]:
        """Return the ids and the first base of each token."""
        if not self._drops_n:
            return self._tokens(decode_bases(codes))
        # The library gives wrong places after a letter that it drops.
        real_indices = np.flatnonzero(codes < NUM_REAL_BASES)
        ids, starts = self._tokens(decode_bases(codes[real_indices]))
        places: Positions = real_indices[starts]
        if places.size:
            places[0] = 0
        return ids, places

    def _tokens(self, text: str) -> tuple[Ids, Positions]:
        """Return the ids of a text and the first letter of each token."""
        if len(text) > BLOCK and self._joins:
            tokens = self._tokens_of_blocks(text)
            if tokens is not None:
                return tokens
        if self._pieces is not None:
            numbers, places = self._pieces.cut(text.lower() if self._lower else text)
            ids = np.array(numbers, dtype=self.dtype)
            return ids, np.array(places, dtype=np.int64).reshape(-1, 2)[:, 0]
        encoding = self._plain.encode(text, add_special_tokens=False)
        ids, spans = self._arrays(encoding, len(text))
        return ids, self._starts(ids, spans)

    def _tokens_of_blocks(self, text: str) -> tuple[Ids, Positions] | None:
        """Return tokens of overlapping blocks, joined; None if two blocks share no token."""
        pieces: list[tuple[Ids, Offsets]] = []
        for start, stop, encoding in self._encoded_blocks(text):
            ids, spans = self._arrays(encoding, stop - start)
            spans += start
            if pieces:
                cuts = self._shared_token(pieces[-1], (ids, spans))
                if cuts is None:
                    return None
                last_ids, last_spans = pieces[-1]
                pieces[-1] = last_ids[: cuts[0]], last_spans[: cuts[0]]
                ids, spans = ids[cuts[1] :], spans[cuts[1] :]
            pieces.append((ids, spans))
        all_ids = np.concatenate([ids for ids, _ in pieces])
        return all_ids, self._starts(all_ids, np.concatenate([spans for _, spans in pieces]))

    def _encoded_blocks(self, text: str) -> Iterator[tuple[int, int, Encoding]]:
        blocks = _blocks(text)
        for first in range(0, len(blocks), _BATCH):
            batch = blocks[first : first + _BATCH]
            texts = [text[start:stop] for start, stop in batch]
            encodings = self._plain.encode_batch(texts, add_special_tokens=False)
            for (start, stop), encoding in zip(batch, encodings, strict=True):
                yield start, stop, encoding

    def _shared_token(
        self, left: tuple[Ids, Offsets], right: tuple[Ids, Offsets]
    ) -> tuple[int, int] | None:
        """Return the ends, in both blocks, of the first real token that both have."""
        begin = int(np.searchsorted(left[1][:, 0], right[1][0, 0]))
        keys = [
            (spans[:, 0] * (MAX_TOKEN_LENGTH + 1) + spans[:, 1] - spans[:, 0]) * len(self.tokens)
            + ids
            for ids, spans in ((left[0][begin:], left[1][begin:]), right)
        ]
        is_real = self.is_real[right[0]]
        places = np.flatnonzero(np.isin(keys[1], keys[0]) & is_real)
        if not places.size:
            return None
        place = int(places[0])
        return begin + int(np.argmax(keys[0] == keys[1][place])) + 1, place + 1

    def _starts(self, ids: Ids, spans: Offsets) -> Positions:
        """Return the first letter of each token, so that tokens cover the text without gaps.

        A token that spells no bases starts at the end of the one before: the library gives only the
        last letter of a run that was replaced.
        """
        if not ids.size:
            return spans[:, 0]
        ends = np.where(self._is_mark[ids], spans[:, 0], spans[:, 1])
        before = np.append(0, ends[:-1])
        starts = np.where(self._num_bases[ids] > 0, spans[:, 0], before)
        starts[0] = 0
        ordered: Positions = np.maximum.accumulate(starts)
        return ordered

    def _arrays(self, encoding: Encoding, num_letters: int) -> tuple[Ids, Offsets]:
        """Return ids and the letters that each token covers."""
        ids = np.array(encoding.ids, dtype=self.dtype)
        lengths = self._num_bases[ids]
        if lengths.all() and lengths.sum() == num_letters:
            ends = np.cumsum(lengths)
            return ids, np.stack([ends - lengths, ends], axis=1)
        return ids, np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)

    def _single_ids_are_ambiguous(self) -> bool:
        """Return True if a base has several tokens, such as one for the start of a word."""
        singles = [text for text in self.bases if len(text) == 1 and text != BASES[-1]]
        return len(singles) > NUM_REAL_BASES

    def _character_table(self) -> Ids | None:
        """Return the id of each base code; None if tokens are longer or depend on neighbours."""
        if max(map(len, self.bases)) > 1:
            return None
        singles = [self._plain.encode(base, add_special_tokens=False).ids for base in BASES]
        if any(len(ids) != 1 for ids in singles):
            return None
        table = np.array([ids[0] for ids in singles], dtype=self.dtype)
        for codes in _probes():
            ids = self._plain.encode(decode_bases(codes), add_special_tokens=False).ids
            if len(ids) != codes.size or (table[codes] != ids).any():
                return None
        return table

    def _check_bases(self) -> None:
        """Check on random bases that tokens stand for the bases that they spell.

        Raises:
            ValueError: They stand for others, or sequences become unknown.
        """
        for codes in _probes():
            text = decode_bases(codes)
            offsets = self.offsets(codes)
            for number, (start, stop) in zip(self.encode(codes).tolist(), offsets, strict=True):
                # An N that the library drops is part of a token that does not spell it.
                covered = (
                    text[start:stop].replace(BASES[-1], "") if self._drops_n else text[start:stop]
                )
                if self.bases[number] not in (covered, ""):
                    raise ValueError(f"the token `{self.tokens[number][:40]}` is of other bases")
            if BASES[-1] not in text and not self.is_real[self.encode(codes)].all():
                raise ValueError(f"no tokens for {codes.size:,} bases of A C G T")


def _tokens_by_id(plain: HuggingFaceTokenizer) -> tuple[str, ...]:
    """Return all tokens by id; ids without a token get a name that says so."""
    ids = plain.get_vocab(with_added_tokens=True)
    size = max(ids.values(), default=-1) + 1
    if not 0 < size <= MAX_TOKENS:
        raise ValueError(f"{size:,} ids; 1 to {MAX_TOKENS:,} are possible")
    tokens = [_UNUSED.format(number) for number in range(size)]
    for token, number in ids.items():
        tokens[number] = token
    return tuple(tokens)


def _bases(token: str, *, lower: bool) -> str:
    """Return the bases that a token spells; empty for other tokens."""
    for start in _WORD_STARTS:
        token = token.removeprefix(start)
    token = token.removesuffix(_WORD_END)
    if lower:
        return bases_of(token.upper()) if token.islower() else ""
    return bases_of(token)


def _has_plain_merges(model: Mapping[str, Any]) -> bool:
    """Return True for byte pairs whose merges depend on neighbouring letters only."""
    exceptions = ("ignore_merges", "continuing_subword_prefix", "end_of_word_suffix")
    return model["type"] == "BPE" and not any(model.get(key) for key in exceptions)


def _is_one_word(document: Mapping[str, Any]) -> bool:
    """Return True if a sequence is one word, whatever its letters."""
    real = set(BASES[:NUM_REAL_BASES])
    for component in components(document, "normalizer"):
        if component["type"] == "Replace" and real & set(pattern_of(component)[0].upper()):
            return False
    for component in components(document, "pre_tokenizer"):
        if component["type"] == "Split":
            pattern, is_expression = pattern_of(component)
            if pattern not in WORD_PATTERNS and (is_expression or set(BASES) & set(pattern)):
                return False
        elif component["type"] not in _WHOLE_WORDS:
            return False
    return True


def _blocks(text: str) -> list[tuple[int, int]]:
    """Return starts and ends of overlapping blocks; most letters of an overlap are not N."""
    is_base = np.frombuffer(text.encode("ascii"), dtype=np.uint8) != ord(BASES[-1])
    counts = np.append(0, np.cumsum(is_base))
    # Ends of blocks whose overlap with the next block has tokens of A C G T.
    ends = np.flatnonzero(counts[OVERLAP:] - counts[:-OVERLAP] >= OVERLAP // 2) + OVERLAP
    blocks: list[tuple[int, int]] = []
    start = 0
    while start + BLOCK < len(text):
        place = int(np.searchsorted(ends, start + BLOCK))
        if place == ends.size or ends[place] == len(text):
            break
        blocks.append((start, int(ends[place])))
        start = int(ends[place]) - OVERLAP
    return [*blocks, (start, len(text))]


def _probes() -> Iterator[npt.NDArray[np.uint8]]:
    """Yield base codes that show how a tokenizer cuts: random bases, repeats, runs of N."""
    generator = np.random.default_rng(0)
    yield generator.integers(0, NUM_REAL_BASES, 2000).astype(np.uint8)
    yield np.repeat(generator.integers(0, NUM_REAL_BASES, 50), 20).astype(np.uint8)
    yield generator.integers(0, len(BASES), 200).astype(np.uint8)
    yield np.repeat(np.array([0, 4, 1, 4, 2, 3], dtype=np.uint8), [3, 1, 5, 40, 2, 7])


def _checksum(document: Mapping[str, Any]) -> str:
    """Return a checksum of everything that affects the ids of a sequence."""
    relevant = {key: document.get(key) for key in _HASHED}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()
