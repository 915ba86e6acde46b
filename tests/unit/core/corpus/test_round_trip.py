"""Round trip through a corpus: every base, every soft-mask bit, nothing across records."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from genomeformer_cli.core.corpus.format import (
    MANIFEST_FILE,
    SEGMENTS_FILE,
    Segment,
    Split,
    soft_mask_file,
    tokens_file,
)
from genomeformer_cli.core.corpus.reader import Corpus, load_manifest
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.core.errors import AlphabetError, CheckpointError, CorruptError, InputError
from genomeformer_cli.core.formats.fasta import Record, read_records
from genomeformer_cli.core.genomes.genome import Genome, cached_genomes
from genomeformer_cli.core.genomes.sample import install_sample, sample_genomes
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from tests.corpora import CorpusWriter, build_corpus, genome
from tests.strategies import plain_bases, records, repeatable

HALF = SplitConfig(by=SplitBy.TAIL, fraction=0.5)


def write(
    folder: Path,
    genomes: list[tuple[Genome, list[Record]]],
    *,
    split: SplitConfig = HALF,
    shard_tokens: int = 1 << 20,
) -> Corpus:
    writer = CorpusWriter(folder, CharTokenizer(), shard_tokens=shard_tokens)
    for one, its_records in genomes:
        writer.add_genome(one, its_records)
    writer.finish(name="c", split=split, inputs_sha256="0" * 64)
    return Corpus(folder)


def joined(corpus: Corpus, of: Genome, record: Record) -> tuple[str, list[bool]]:
    """A record put together again from its segments, which must follow each other."""
    text, mask = "", list[bool]()
    for segment in corpus.segments():
        if (segment.genome, segment.record) != (of.name, record.id):
            continue
        assert segment.start == len(text)
        assert segment.length > 0
        text += corpus.tokenizer.decode(corpus.tokens(segment))
        mask += corpus.soft_mask(segment).tolist()
    return text, mask


@repeatable
@given(first=records(), second=records(), shard_tokens=st.integers(1, 100))
def test_every_base_and_every_soft_mask_bit_comes_back(
    first: list[Record], second: list[Record], shard_tokens: int
) -> None:
    genomes = [(genome("one"), first), (genome("two"), second)]
    kept = [(g, record) for g, its in genomes for record in its]
    assume(any(len(record.sequence) > 1 for _, record in kept))
    with tempfile.TemporaryDirectory() as folder:
        corpus = write(Path(folder), genomes, shard_tokens=shard_tokens)
        for g, record in kept:
            text, mask = joined(corpus, g, record)
            assert text == plain_bases(record.sequence)
            assert mask == [letter.islower() for letter in record.sequence]
        manifest = corpus.manifest
        letters = "".join(record.sequence for _, record in kept)
        assert manifest.num_train + manifest.num_validation == len(letters)
        assert sum(manifest.shard_tokens) == len(letters)
        assert manifest.num_soft_masked == sum(letter.islower() for letter in letters)
        assert manifest.has_soft_mask == any(letter.islower() for letter in letters)
        counts = {base: plain_bases(letters).count(base) for base in "ACGTN"}
        assert manifest.base_counts == {base: n for base, n in counts.items() if n}


@repeatable
@given(drawn=records(), shard_tokens=st.integers(1, 100))
def test_segments_tile_each_shard_and_never_leave_their_record(
    drawn: list[Record], shard_tokens: int
) -> None:
    assume(any(len(record.sequence) > 1 for record in drawn))
    lengths = {record.id: len(record.sequence) for record in drawn}
    with tempfile.TemporaryDirectory() as folder:
        corpus = write(Path(folder), [(genome("g"), drawn)], shard_tokens=shard_tokens)
        ends = [0] * len(corpus.manifest.shard_tokens)
        for segment in corpus.segments():
            assert segment.offset == ends[segment.shard]
            assert 0 <= segment.start < segment.start + segment.length <= lengths[segment.record]
            ends[segment.shard] += segment.length
        assert ends == corpus.manifest.shard_tokens
        for shard, num_tokens in enumerate(ends):
            held = [segment for segment in corpus.segments() if segment.shard == shard]
            last = [segment.length for segment in held if segment.record == held[-1].record]
            assert num_tokens <= shard_tokens or num_tokens - sum(last) < shard_tokens


@repeatable
@given(
    sequence=st.text(alphabet="ACGTacgtNn", min_size=4, max_size=80),
    before=st.integers(0, 17),
    data=st.data(),
)
def test_any_stretch_of_a_segment_is_that_stretch(
    sequence: str, before: int, data: st.DataObject
) -> None:
    drawn = [Record("before", "", "a" * before), Record("r", "", sequence)]
    with tempfile.TemporaryDirectory() as folder:
        corpus = write(Path(folder), [(genome("g"), drawn)])
        for segment in corpus.segments():
            if segment.record != "r":
                continue
            start = data.draw(st.integers(0, segment.length))
            stop = data.draw(st.integers(start, segment.length))
            expected = sequence[segment.start + start : segment.start + stop]
            ids = corpus.tokens(segment, start, stop)
            assert corpus.tokenizer.decode(ids) == plain_bases(expected)
            mask = corpus.soft_mask(segment, start, stop)
            assert mask.tolist() == [letter.islower() for letter in expected]


def test_a_real_genome_comes_back(cache_home: Path, tmp_path: Path) -> None:
    store = Store(cache_home)
    phage = sample_genomes()[0]
    install_sample(phage, store=store)
    ((_, path),) = cached_genomes(store)
    (record,) = read_records(path)
    (tmp_path / "c").mkdir()
    corpus = write(tmp_path / "c", [(phage, [record])], shard_tokens=1000)
    text, _ = joined(corpus, phage, record)
    assert text == record.sequence
    assert corpus.manifest.genomes[0]["accession"] == phage.accession


def test_a_corpus_without_lower_case_has_no_bit_track(tmp_path: Path) -> None:
    corpus = build_corpus(tmp_path / "c", {"a": "ACGT" * 10})
    assert not (tmp_path / "c" / soft_mask_file(0)).exists()
    (segment,) = corpus.segments("train")
    assert corpus.soft_mask(segment, 3, 9).tolist() == [False] * 6


def test_duplicate_ids_are_all_kept(tmp_path: Path) -> None:
    twice = [Record("a", "", "AAAA"), Record("a", "", "CCCC")]
    corpus = write(tmp_path, [(genome("g"), twice)])
    text = "".join(corpus.tokenizer.decode(corpus.tokens(s)) for s in corpus.segments())
    assert text == "AAAACCCC"


def test_tokens_are_mapped_and_cannot_be_written_to(tmp_path: Path) -> None:
    corpus = build_corpus(tmp_path / "c", {"a": "ACGT" * 10})
    tokens = corpus.tokens(corpus.segments()[0])
    assert isinstance(tokens, np.memmap)
    assert not tokens.flags.writeable


def test_no_window_leaves_its_segment(tmp_path: Path) -> None:
    corpus = build_corpus(tmp_path / "c", {"a": "ACGT" * 10})
    segment = corpus.segments()[0]
    for start, stop in ((-1, 3), (0, segment.length + 1), (5, 4)):
        with pytest.raises(AssertionError):
            corpus.tokens(segment, start, stop)


@pytest.mark.parametrize("empty", [[], [Record("a", "", "")]])
def test_genomes_without_bases_are_refused(tmp_path: Path, empty: list[Record]) -> None:
    with pytest.raises(InputError, match="no bases"):
        write(tmp_path, [(genome("g"), empty)])


def test_an_illegal_character_is_named_with_genome_record_and_position(tmp_path: Path) -> None:
    with pytest.raises(AlphabetError, match="genome `g`: record `r`: `E` at position 3"):
        write(tmp_path, [(genome("g"), [Record("r", "", "ACEA")])])


@pytest.mark.parametrize("name", [MANIFEST_FILE, SEGMENTS_FILE, tokens_file(0), soft_mask_file(0)])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_damaged_corpus_is_an_error(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / "c" / name
    build_corpus(tmp_path / "c", {"a": "ACGTacgt" * 10})
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2 if damage == "cut" else 0])
    with pytest.raises(CorruptError, match=re.escape(str(tmp_path / "c"))) as caught:
        Corpus(tmp_path / "c")
    assert caught.value.hint


def test_a_corpus_without_its_tokenizer_is_an_error(tmp_path: Path) -> None:
    build_corpus(tmp_path / "c", {"a": "ACGTacgt" * 10})
    (tmp_path / "c" / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="no readable tokenizer"):
        Corpus(tmp_path / "c")


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    build_corpus(tmp_path / "c", {"a": "ACGT" * 10})
    path = tmp_path / "c" / MANIFEST_FILE
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**manifest, "format": 99}), encoding="utf-8")
    with pytest.raises(CorruptError, match="format 99"):
        load_manifest(tmp_path / "c")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_segments_of_a_split_are_of_that_split(tmp_path: Path, split: Split) -> None:
    corpus = build_corpus(tmp_path / "c", {"a": "ACGT" * 10, "b": "GGCC" * 10})
    chosen: list[Segment] = corpus.segments(split)
    assert {segment.split for segment in chosen} == {split}
    assert [segment.record for segment in chosen] == ["a", "b"]
