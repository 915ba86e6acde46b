"""A record that comes in blocks gives the tokens of the whole record, in bounded memory."""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.corpus.genome_shards import GenomeShardWriter
from genomeformer_cli.core.corpus.streaming_tokenizer import separate_mask, tokenize_blocks
from genomeformer_cli.core.formats.fasta import Block
from genomeformer_cli.core.sequence import encode_bases, soft_mask
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from tests.cli import run_python
from tests.corpora import marked
from tests.dna_tokenizers import TOKENIZERS
from tests.strategies import ANY_CASE, repeatable

every_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)
stretches = st.one_of(
    st.text(alphabet="ACGTacgt", max_size=60),
    st.text(alphabet=ANY_CASE, max_size=12),
    st.integers(1, 20).map(lambda length: "Nn" * length),
    # Repeats reach over the pieces of byte pairs.
    st.tuples(st.sampled_from(["a", "ACGTTGCA", "gT"]), st.integers(400, 700)).map(
        lambda drawn: (drawn[0] * drawn[1])[: drawn[1]]
    ),
)
sequences = st.lists(stretches, max_size=4).map("".join)


@lru_cache
def tokenizer_of(name: str) -> Tokenizer:
    return TOKENIZERS[name]()


def in_blocks(records: list[str], borders: list[int]) -> Iterator[Block]:
    """The records end to end, cut anywhere."""
    whole = marked("".join(records))
    begins = np.cumsum([0, *map(len, records)])[:-1].tolist()
    edges = sorted({0, whole.size, *(border % (whole.size + 1) for border in borders)})
    for start, stop in pairwise(edges):
        is_last = stop == whole.size
        within = [
            (begin - start, f"r{number}")
            for number, begin in enumerate(begins)
            if start <= begin < stop or (is_last and begin == stop)
        ]
        yield Block(whole[start:stop], within)
    if whole.size == 0:
        yield Block(whole, [(0, f"r{number}") for number in range(len(records))])


@every_tokenizer
@repeatable
@given(
    records=st.lists(sequences, min_size=1, max_size=3),
    borders=st.lists(st.integers(0, 5000), max_size=12),
)
def test_ids_and_soft_marks_are_those_of_whole_records(
    name: str, records: list[str], borders: list[int]
) -> None:
    tokenizer = tokenizer_of(name)
    made = list(tokenize_blocks(map(separate_mask, in_blocks(records, borders)), tokenizer))
    ids = [tokenizer.encode(encode_bases(record)) for record in records]
    soft = [
        soft_mask(record)[tokenizer.offsets(encode_bases(record))[:, 0]]
        for record in records
        if record
    ]
    assert np.concatenate([block.ids for block in made]).tolist() == np.concatenate(ids).tolist()
    assert {block.ids.dtype for block in made} == {tokenizer.dtype}
    found = np.concatenate([block.soft for block in made]).tolist()
    assert found == [mark for marks in soft for mark in marks.tolist()]
    before, starts = 0, []
    for block in made:
        starts += [(before + at, record) for at, record in block.starts]
        before += block.ids.size
    expected = np.cumsum([0, *(one.size for one in ids)])
    assert starts == [(int(expected[n]), f"r{n}") for n in range(len(records))]


@every_tokenizer
@repeatable
@given(sequence=sequences, sizes=st.lists(st.integers(1, 600), max_size=10))
def test_offsets_of_pieces_are_those_of_the_whole(
    name: str, sequence: str, sizes: list[int]
) -> None:
    tokenizer = tokenizer_of(name)
    codes = encode_bases(sequence)
    done = seen = 0
    offsets, firsts = [], []
    for size in [*sizes, codes.size]:
        seen = min(seen + size, codes.size)
        open_end = codes[done:seen]
        stop, resume = (
            tokenizer.stable_prefix(open_end)
            if seen < codes.size
            else (open_end.size, open_end.size)
        )
        piece = open_end[:stop]
        offsets += (tokenizer.offsets(piece) + done).tolist()
        firsts += (tokenizer.firsts(piece, tokenizer.encode(piece)) + done).tolist()
        assert 0 <= resume <= stop <= open_end.size
        assert open_end.size - resume < 1024
        done += resume
    assert offsets == tokenizer.offsets(codes).tolist()
    assert firsts == [start for start, _ in offsets]


def test_marks_are_parted_from_bases() -> None:
    mixed, upper = (separate_mask(Block(marked(text), [])) for text in ("AcGtnN", "ACGTN"))
    assert mixed.codes.tolist() == [0, 1, 2, 3, 4, 4]
    assert mixed.soft.tolist() == [False, True, False, True, True, False]
    assert upper.codes.tolist() == [0, 1, 2, 3, 4]
    assert upper.soft.tolist() == [False] * 5


GROWTH_MB = 8


def _peaks_mb(name: str, *num_blocks: int) -> list[float]:
    """Peaks of one process after records of growing size."""
    line = ("-m", __name__, name, *map(str, num_blocks))
    # Threads with memory of their own make a peak vary by 10 MB.
    done = run_python(*line, environment={"MALLOC_ARENA_MAX": "1", "RAYON_NUM_THREADS": "1"})
    assert done.exit_code == 0, done.err
    return [float(line) for line in done.out.split()]


@pytest.mark.parametrize("name", ["char", "6-mers", "8-mers, stride 3", "byte pairs, 400"])
def test_a_longer_record_takes_no_more_memory(name: str) -> None:
    """12 MB and 3 MB: held whole, the bases alone would be 9 MB more, their ids as much again."""
    short, long = _peaks_mb(name, 3, 12)
    assert long - short < GROWTH_MB


def _write_one_record(name: str, num_blocks: int) -> None:
    """A record of `num_blocks` MB without an N, some of it soft-masked, through to its part."""
    generator = np.random.default_rng(0)

    def blocks() -> Iterator[Block]:
        for number in range(num_blocks):
            bases = generator.integers(0, 4, 1 << 20).astype(np.uint8)
            bases[: 1 << 10] |= 8
            yield Block(bases, [] if number else [(0, "r")])

    with tempfile.TemporaryDirectory() as folder:
        GenomeShardWriter(Path(folder), TOKENIZERS[name](), shard_tokens=1 << 28).write(blocks())


def _peak_mb() -> float:
    """Peak memory of this process; on Linux `ru_maxrss` would be that of the process before it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


if __name__ == "__main__":
    for size in sys.argv[2:]:
        _write_one_record(sys.argv[1], int(size))
        sys.stdout.write(f"{_peak_mb()}\n")
