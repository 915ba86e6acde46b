"""Byte layout of a corpus.

    manifest.json            tokenizer, genomes, split, counts
    segments.jsonl           segments, one per line, in order
    tokens-00000.bin         token ids, little-endian unsigned integers of `dtype` (uint8 if the
                             vocabulary fits, else wider), records end to end, no separators, no
                             header: token i of a shard is at byte i * itemsize
    softmask-00000.bin       one bit per token, eight per byte, least significant first, no gap
                             between records: 1 if the token's first base was lower case; present
                             only if any base of the corpus was
    tokenizer.json, tokenizer_config.json, special_tokens_map.json

A record is stored in one shard. A shard is closed after the record that fills it (2^28 tokens), or
before the genome that would.

A segment is a contiguous range of one record in one split; windows never cross its ends. If tokens
overlap and the tail of a record is held out, the tokens before the tail that share bases with it
form a separate, unused segment.
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
    """Contiguous range of one record."""

    genome: str  # Name of the genome.
    record: str  # Id of the record.
    start: int  # First token within the record.
    length: int  # Number of tokens.
    shard: int  # Number of the shard.
    offset: int  # First token within the shard.
    split: Split  # Training, validation, or unused (tokens that contain bases of both).


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Description of a corpus."""

    format: int  # Version of the byte layout.
    name: str  # Name in the cache.
    tokenizer: str  # Kind of tokenizer.
    vocabulary_sha256: str  # Checksum of the vocabulary.
    dtype: str  # NumPy name of the integer type of ids.
    shard_tokens: list[int]  # Number of tokens in each shard.
    has_soft_mask: bool  # True if the soft-mask track exists.
    inputs_sha256: str  # Checksum of all inputs of the corpus.
    split_rule: str  # Rule for the held-out part, as text.
    num_train: int  # Number of tokens in training segments.
    num_validation: int  # Number of tokens in held-out segments.
    base_counts: dict[str, int]  # Count of each base, A C G T N.
    num_soft_masked: int  # Number of lower-case bases.
    genomes: list[dict[str, Any]]  # Contents of each `genome.json`, with checksums of the sources.
    tokenizer_settings: dict[str, Any] = field(default_factory=dict)  # Settings of the tokenizer.
    num_bases: int = 0  # Number of letters in all genomes.
    unknown_fraction: float = 0.0  # Fraction of letters that are N.
    soft_mask_fraction: float = 0.0  # Fraction of letters that were lower case.


def tokens_file(shard: int) -> str:
    """Return the name of a shard's token file."""
    return f"tokens-{shard:05d}.bin"


def soft_mask_file(shard: int) -> str:
    """Return the name of a shard's soft-mask file."""
    return f"softmask-{shard:05d}.bin"
