"""The byte layout of a corpus.

    manifest.json            what it is made of: tokenizer, genomes, split, counts
    segments.jsonl           where each stretch lies: one line a segment, in order
    tokens-00000.bin         token ids, little-endian unsigned integers of `dtype` (uint8 where
                             the vocabulary fits, else wider), records end to end, no
                             separators, no header: token i of a shard is at byte i * itemsize
    softmask-00000.bin       one bit a token, eight a byte, least significant first, no gap
                             between records: 1 where the token's first base was lower case;
                             only if any base of the corpus was
    tokenizer.json, tokenizer_config.json, special_tokens_map.json

A record lies wholly in one shard. A shard is closed after the record that fills it (2^28 tokens),
or before the genome that would.

A segment is a contiguous stretch of one record, wholly in one split; no window ever reaches over
its ends. Where tokens overlap and the tail of a record is held out, the tokens before the tail that
reach into it are a segment of their own, which is neither trained nor validated on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

MANIFEST_FILE = "manifest.json"
SEGMENTS_FILE = "segments.jsonl"
FORMAT_VERSION = 1

Split = Literal["train", "validation", "unused"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A contiguous stretch of one record.

    Attributes:
        genome: Name of the genome.
        record: Id of the record in it.
        start: First token within the record.
        length: Number of tokens.
        shard: Which shard holds it.
        offset: First token within the shard.
        split: Training, held out, or unused: tokens between the two that show bases of both.
    """

    genome: str
    record: str
    start: int
    length: int
    shard: int
    offset: int
    split: Split


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a corpus is made of.

    Attributes:
        format: Version of the byte layout.
        name: Name in the cache.
        tokenizer: Kind of tokenizer.
        vocabulary_sha256: Identity of the vocabulary.
        dtype: numpy name of the integer type of an id.
        shard_tokens: Tokens in each shard.
        has_soft_mask: Whether the bit track is there.
        inputs_sha256: Identity of everything the corpus was made from.
        split_rule: How the held-out part was chosen, in words.
        num_train: Tokens in training segments.
        num_validation: Tokens in held-out segments.
        base_counts: How often each base occurs, A C G T N.
        num_soft_masked: Bases that were lower case.
        genomes: The genomes, as their `genome.json` describes them, checksums of sources too.
        tokenizer_settings: What the tokenizer was made with.
        num_bases: Letters of all genomes.
        unknown_fraction: Part of them that is N.
        soft_mask_fraction: Part of them that was lower case.
    """

    format: int
    name: str
    tokenizer: str
    vocabulary_sha256: str
    dtype: str
    shard_tokens: list[int]
    has_soft_mask: bool
    inputs_sha256: str
    split_rule: str
    num_train: int
    num_validation: int
    base_counts: dict[str, int]
    num_soft_masked: int
    genomes: list[dict[str, Any]]
    tokenizer_settings: dict[str, Any] = field(default_factory=dict)
    num_bases: int = 0
    unknown_fraction: float = 0.0
    soft_mask_fraction: float = 0.0


def tokens_file(shard: int) -> str:
    """Name of a shard's token file."""
    return f"tokens-{shard:05d}.bin"


def soft_mask_file(shard: int) -> str:
    """Name of a shard's soft-mask file."""
    return f"softmask-{shard:05d}.bin"
