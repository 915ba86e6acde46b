"""Token shards of one genome: the unit of parallel work and of resuming.

A part is finished when its `part.json` exists, which is written last. The parts are later merged
into the shards of a corpus.
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
    separate_mask,
    tokenize_blocks,
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
    """Record of a part: position of its tokens, and number of its hashes in the sketch."""

    record: str  # Id of the record.
    length: int  # Number of tokens.
    shard: int  # Number of the shard within the part.
    offset: int  # First token within the shard.
    num_bases: int  # Number of letters.
    num_hashes: int = 0  # Number of hashes in the sketch.


@dataclass(frozen=True, kw_only=True)
class GenomeShard:
    """Tokenized genome."""

    num_records: int  # Number of records in the file, including empty ones.
    num_bases: int  # Number of letters in the file.
    base_counts: list[int]  # Count of each base, A C G T N.
    num_soft_masked: int  # Number of lower-case letters.
    shard_tokens: list[int]  # Number of tokens in each shard.
    records: list[GenomeShardRecord]  # Records with at least one token.
    empty: list[str]  # Ids of records without letters.
    sha256: dict[str, str]  # Checksums of the shards by file name, computed while writing.


def load_genome_shard(folder: Path) -> GenomeShard | None:
    """Read a finished part; None if it is unfinished."""
    try:
        part: GenomeShard = read_json(folder / PART_FILE, GenomeShard)
    except DocumentError:
        return None
    return part


def load_minhash(folder: Path, part: GenomeShard) -> list[Hashes]:
    """Read the hashes of each record of a part."""
    hashes = np.fromfile(folder / SKETCH_FILE, dtype="<u8")
    ends = np.cumsum([record.num_hashes for record in part.records])
    return np.split(hashes, ends[:-1]) if len(ends) else []


class GenomeShardWriter:
    """Tokenize one genome into a folder.

    Args:
        folder: Empty folder.
        tokenizer: Tokenizer of the corpus.
        shard_tokens: Size at which a shard is closed, after the record that reaches it.
        with_sketch: Also write a MinHash sketch for near-duplicate detection.
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
        """Write all blocks of a genome."""
        with ExitStack() as stack:
            shards = _Shards(self._folder, self._limit, stack)
            for block in tokenize_blocks(self._count_blocks(blocks), self._tokenizer):
                shards.add(block)
            shards.finish()
        # Records without bases have a sketch but no tokens.
        sizes = [size for size in self._sizes if size]
        records = [
            replace(record, num_bases=size)
            for record, size in zip(shards.records, sizes, strict=True)
        ]
        if self._with_sketch:
            sketches = [
                hashes for hashes, size in zip(self._sketches, self._sizes, strict=True) if size
            ]
            records = [
                replace(record, num_hashes=hashes.size)
                for record, hashes in zip(records, sketches, strict=True)
            ]
            with (self._folder / SKETCH_FILE).open("wb") as file:
                for hashes in sketches:
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

    def _count_blocks(self, blocks: Iterable[Block]) -> Iterator[Bases]:
        for block in map(separate_mask, blocks):
            codes = block.codes
            self._counts += count_bases(codes)
            self._num_soft_masked += int(np.count_nonzero(block.soft))
            self._num_bases += codes.size
            position = 0
            for start, name in block.starts:
                self._take(codes[position:start])
                self._close()
                self._open_id, position = name, start
                self._num_records += 1
            self._take(codes[position:])
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
    """Count A C G T N."""
    is_known = not codes.size or codes.max() < NUM_REAL_BASES
    unknown = 0 if is_known else int(np.count_nonzero(codes == NUM_REAL_BASES))
    odd = int(np.count_nonzero((codes & np.uint8(1)).view(np.bool_)))
    t = int(np.count_nonzero(codes == 3))
    g = int(np.count_nonzero(codes == 2))
    return np.array([codes.size - unknown - odd - g, odd - t, g, t, unknown], dtype=np.int64)


class _Shards:
    """Files of a part, and the positions of records in them."""

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
        start = 0
        for stop, name in block.starts:
            self._close_record(stop - start)
            if self._size + stop - start >= self._limit:
                self._write(block, start, stop)
                self._close_shard()
                start = stop
            self._open = (name, self._size + stop - start)
        self._write(block, start, block.ids.size)

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
