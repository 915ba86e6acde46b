"""One genome tokenized into a folder of its own: the unit of parallel work and of resuming.

A part is finished when its `part.json` is there; everything it names was written before. Parts are
later put together into the shards of a corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.corpus.bitset import BitWriter
from genomeformer_cli.core.corpus.format import soft_mask_file, tokens_file
from genomeformer_cli.core.corpus.minhash import Hashes, MinHasher
from genomeformer_cli.core.corpus.streaming_tokenizer import (
    Bases,
    TokenBlock,
    cut_blocks,
    part_marks,
)
from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.formats.fasta import Block
from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES, Codes
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.stream import HashedFile
from genomeformer_cli.core.tokenizers.protocol import Tokenizer

PART_FILE = "part.json"
SKETCH_FILE = "sketch.bin"


@dataclass(frozen=True, kw_only=True)
class GenomeShardRecord:
    """A record of a part: where its tokens lie, and how many of the sketch's hashes are its own.

    Attributes:
        record: Its id.
        length: Number of tokens.
        shard: Which of the part's shards holds it.
        offset: First token within the shard.
        num_bases: Its letters.
        num_hashes: Hashes of its sketch.
    """

    record: str
    length: int
    shard: int
    offset: int
    num_bases: int
    num_hashes: int = 0


@dataclass(frozen=True, kw_only=True)
class GenomeShard:
    """A tokenized genome.

    Attributes:
        num_records: Records of the file, empty ones too.
        num_bases: Letters of the file.
        base_counts: How often each base occurs, A C G T N.
        num_soft_masked: Letters that were lower case.
        shard_tokens: Tokens in each of its shards.
        records: Its records with at least one token.
        empty: Ids of records without letters.
        sha256: Checksums of its shards, by file name, taken of what was written.
    """

    num_records: int
    num_bases: int
    base_counts: list[int]
    num_soft_masked: int
    shard_tokens: list[int]
    records: list[GenomeShardRecord]
    empty: list[str]
    sha256: dict[str, str]


def load_genome_shard(folder: Path) -> GenomeShard | None:
    """A finished part, or nothing."""
    try:
        part: GenomeShard = read_json(folder / PART_FILE, GenomeShard)
    except DocumentError:
        return None
    return part


def load_minhash(folder: Path, part: GenomeShard) -> list[Hashes]:
    """The hashes of each record of a part."""
    hashes = np.fromfile(folder / SKETCH_FILE, dtype="<u8")
    ends = np.cumsum([record.num_hashes for record in part.records])
    return np.split(hashes, ends[:-1]) if len(ends) else []


class GenomeShardWriter:
    """Tokenizes one genome into a folder.

    Args:
        folder: An empty folder.
        tokenizer: Cuts the bases.
        shard_tokens: A shard is closed after the record that fills it.
        with_sketch: Also keep the sketch for the near-duplicate guard.
    """

    def __init__(
        self, folder: Path, tokenizer: Tokenizer, *, shard_tokens: int, with_sketch: bool = False
    ) -> None:
        self._folder = folder
        self._tokenizer = tokenizer
        self._limit = shard_tokens
        self._with_sketch = with_sketch
        self._counts = np.zeros(len(BASES), dtype=np.int64)
        self._num_soft_masked = self._num_bases = self._num_records = 0
        self._empty: list[str] = []
        self._sizes: list[int] = []
        self._open_bases = 0
        self._open_id: str | None = None
        self._sketcher = MinHasher()
        self._sketches: list[Hashes] = []

    def write(self, blocks: Iterable[Block]) -> GenomeShard:
        """Take all blocks of a genome."""
        with ExitStack() as stack:
            shards = _Shards(self._folder, self._limit, stack)
            for block in cut_blocks(self._watched(blocks), self._tokenizer):
                shards.add(block)
            shards.finish()
        # A record has tokens exactly if it has bases, and a sketch whether or not.
        sizes = [size for size in self._sizes if size]
        records = [
            replace(record, num_bases=size)
            for record, size in zip(shards.records, sizes, strict=True)
        ]
        if self._with_sketch:
            kept = [
                hashes for hashes, size in zip(self._sketches, self._sizes, strict=True) if size
            ]
            records = [
                replace(record, num_hashes=hashes.size)
                for record, hashes in zip(records, kept, strict=True)
            ]
            with (self._folder / SKETCH_FILE).open("wb") as file:
                for hashes in kept:
                    file.write(hashes.astype("<u8").tobytes())
        part = GenomeShard(
            num_records=self._num_records,
            num_bases=self._num_bases,
            base_counts=self._counts.tolist(),
            num_soft_masked=self._num_soft_masked,
            shard_tokens=shards.sizes,
            records=records,
            empty=self._empty,
            sha256=shards.sha256,
        )
        write_json(self._folder / PART_FILE, asdict(part))
        return part

    def _watched(self, blocks: Iterable[Block]) -> Iterator[Bases]:
        for block in map(part_marks, blocks):
            codes = block.codes
            self._counts += count_bases(codes)
            self._num_soft_masked += int(np.count_nonzero(block.soft))
            self._num_bases += codes.size
            at = 0
            for start, name in block.starts:
                self._take(codes[at:start])
                self._close()
                self._open_id, at = name, start
                self._num_records += 1
            self._take(codes[at:])
            yield block
        self._close()

    def _take(self, codes: Codes) -> None:
        self._open_bases += codes.size
        if self._with_sketch and codes.size:
            self._sketcher.add(codes)

    def _close(self) -> None:
        if self._open_id is None:
            return
        self._sizes.append(self._open_bases)
        if not self._open_bases:
            self._empty.append(self._open_id)
        if self._with_sketch:
            self._sketches.append(self._sketcher.finish())
        self._open_id, self._open_bases = None, 0


def count_bases(codes: Codes) -> npt.NDArray[np.int64]:
    """How often each of A C G T N occurs."""
    is_known = not codes.size or codes.max() < NUM_REAL_BASES
    unknown = 0 if is_known else int(np.count_nonzero(codes == NUM_REAL_BASES))
    odd = int(np.count_nonzero((codes & np.uint8(1)).view(np.bool_)))
    t = int(np.count_nonzero(codes == 3))
    g = int(np.count_nonzero(codes == 2))
    return np.array([codes.size - unknown - odd - g, odd - t, g, t, unknown], dtype=np.int64)


class _Shards:
    """The files of a part, and where each record lies in them."""

    def __init__(self, folder: Path, limit: int, stack: ExitStack) -> None:
        self._folder = folder
        self._limit = limit
        self._stack = stack
        self._bits: BitWriter | None = None
        self._open: tuple[str, int] | None = None
        self._files: dict[str, HashedFile] = {}
        self.sizes: list[int] = []
        self.records: list[GenomeShardRecord] = []
        self.sha256: dict[str, str] = {}

    @property
    def _size(self) -> int:
        return self.sizes[-1] if self._bits else 0

    def add(self, block: TokenBlock) -> None:
        done = 0
        for at, name in block.starts:
            self._close_record(at - done)
            if self._size + at - done >= self._limit:
                self._write(block, done, at)
                self._close_shard()
                done = at
            self._open = (name, self._size + at - done)
        self._write(block, done, block.ids.size)

    def finish(self) -> None:
        self._close_record(0)
        self._close_shard()

    def _close_record(self, unwritten: int) -> None:
        if self._open is None:
            return
        name, offset = self._open
        length = self._size + unwritten - offset
        if length:
            shard = len(self.sizes) - 1 if self._bits else len(self.sizes)
            self.records.append(
                GenomeShardRecord(
                    record=name, length=length, shard=shard, offset=offset, num_bases=0
                )
            )
        self._open = None

    def _close_shard(self) -> None:
        if self._bits:
            self._bits.finish()
            self.sha256 |= {name: file.finish() for name, file in self._files.items()}
        self._bits = None

    def _open_shard(self) -> BitWriter:
        names = (tokens_file(len(self.sizes)), soft_mask_file(len(self.sizes)))
        self._files = {
            name: self._stack.enter_context(closing(HashedFile(self._folder / name)))
            for name in names
        }
        self._tokens, soft = self._files.values()
        self.sizes.append(0)
        return BitWriter(soft)

    def _write(self, block: TokenBlock, start: int, stop: int) -> None:
        if start == stop:
            return
        self._bits = self._bits or self._open_shard()
        ids = block.ids[start:stop]
        self._tokens.write(ids.astype(ids.dtype.newbyteorder("<"), copy=False).data)
        self._bits.append(block.soft[start:stop])
        self.sizes[-1] += ids.size
