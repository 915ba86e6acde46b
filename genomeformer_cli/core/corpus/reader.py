"""Corpus reader: memory-mapped token ids and soft-mask bits of any segment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.corpus.format import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    SEGMENTS_FILE,
    Manifest,
    Segment,
    Split,
    soft_mask_file,
    tokens_file,
)
from genomeformer_cli.core.documents import DocumentError, read_json, read_json_lines
from genomeformer_cli.core.errors import CorruptError
from genomeformer_cli.core.sequence import Flags
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.store.run_record import note_input
from genomeformer_cli.core.tokenizers.files import load_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Ids, require_ordered


def load_manifest(folder: Path) -> Manifest:
    """Read the manifest of a corpus.

    Raises:
        CorruptError: The manifest is missing, unreadable, or of another format version.
    """
    hint = "make the corpus again with `genomeformer tokenize`"
    try:
        manifest: Manifest = read_json(folder / MANIFEST_FILE, Manifest)
        dtypes = [np.dtype(kind).name for kind in (np.uint8, np.uint16, np.uint32)]
        if manifest.dtype not in dtypes or min(manifest.shard_tokens, default=0) < 0:
            raise ValueError(f"invalid `dtype` or `shard_tokens` in `{MANIFEST_FILE}`")
    except ValueError as failure:
        raise CorruptError(
            f"the corpus in `{folder}` is damaged: {failure}", hint=hint
        ) from failure
    if manifest.format != FORMAT_VERSION:
        raise CorruptError(
            f"the corpus in `{folder}` has format {manifest.format}, not {FORMAT_VERSION}",
            hint=hint,
        )
    return manifest


def _load_segments(folder: Path) -> list[Segment]:
    path = folder / SEGMENTS_FILE
    try:
        return [segment for _, segment in read_json_lines(path, Segment)]
    except DocumentError as failure:
        raise CorruptError(failure.message, hint="make the corpus again") from failure


def open_corpus(store: Store, name: str, *, check: bool = True) -> Corpus:
    """Open a corpus of the cache, after verifying its checksums.

    Args:
        store: Cache.
        name: Name of the corpus.
        check: Verify the checksums; only one of several processes needs to.

    Raises:
        NotInCacheError: The cache has no such corpus.
        CorruptError: A file is missing, changed, or invalid.
    """
    entry = store.entry(Kind.CORPORA, name)
    note_input(entry.path, str(entry.path))
    if check:
        store.verify_once(entry)
    return Corpus(entry.path)


class Corpus:
    """Corpus on disk.

    Args:
        folder: Sealed entry of the cache.

    Raises:
        CorruptError: The corpus is incomplete.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = load_manifest(folder)
        self.tokenizer = require_ordered(load_tokenizer(folder))
        self._segments = _load_segments(folder)
        shards = range(len(self.manifest.shard_tokens))
        self._tokens = [self._map(tokens_file(shard), self.manifest.dtype) for shard in shards]
        has_flags = self.manifest.has_soft_mask
        self._flags = (
            [self._map(soft_mask_file(shard), "uint8") for shard in shards] if has_flags else []
        )
        for shard, num_tokens in enumerate(self.manifest.shard_tokens):
            self._expect(self._tokens[shard].size, num_tokens, tokens_file(shard))
            if has_flags:
                self._expect(self._flags[shard].size, -(-num_tokens // 8), soft_mask_file(shard))
        for segment in self._segments:
            shards_tokens = self.manifest.shard_tokens
            inside = (
                0 <= segment.shard < len(shards_tokens)
                and segment.length >= 0
                and 0 <= segment.offset <= shards_tokens[segment.shard] - segment.length
            )
            if not inside:
                raise CorruptError(
                    f"`{folder / SEGMENTS_FILE}` has a segment of `{segment.record}` outside its "
                    "shard",
                    hint="make the corpus again",
                )
        lengths = sum(segment.length for segment in self._segments)
        self._expect(lengths, sum(self.manifest.shard_tokens), SEGMENTS_FILE)

    def _expect(self, size: int, expected: int, name: str) -> None:
        if size != expected:
            raise CorruptError(
                f"`{self.folder / name}` is incomplete", hint="make the corpus again"
            )

    def _map(self, name: str, dtype: str) -> npt.NDArray[np.uint8]:
        try:
            return np.memmap(self.folder / name, dtype=np.dtype(dtype), mode="r")
        except (OSError, ValueError) as failure:
            raise CorruptError(
                f"`{self.folder / name}` cannot be read", hint="make the corpus again"
            ) from failure

    def segments(self, split: Split | None = None) -> list[Segment]:
        """Return the segments of a split (or all), in order."""
        return [segment for segment in self._segments if split is None or segment.split == split]

    def tokens(self, segment: Segment, start: int = 0, stop: int | None = None) -> Ids:
        """Return the token ids of a range of a segment, relative to its start."""
        stop = segment.length if stop is None else stop
        assert 0 <= start <= stop <= segment.length
        return self._tokens[segment.shard][segment.offset + start : segment.offset + stop]

    def soft_mask(self, segment: Segment, start: int = 0, stop: int | None = None) -> Flags:
        """Return True for every token whose first base was lower case."""
        stop = segment.length if stop is None else stop
        if not self._flags:
            return np.zeros(stop - start, dtype=np.bool_)
        first = segment.offset + start
        packed = self._flags[segment.shard][first // 8 : (segment.offset + stop + 7) // 8]
        bits = np.unpackbits(np.asarray(packed), bitorder="little")
        return bits[first % 8 : first % 8 + stop - start].astype(np.bool_)
