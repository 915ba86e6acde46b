"""All commands read the same records of a FASTA or FASTQ file, however it is written and packed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core.errors import GenomeformerError
from genomeformer_cli.core.evaluation.held_out_sequences import file_sequences
from genomeformer_cli.core.formats.any_sequences import read_any_sequences
from genomeformer_cli.core.formats.fasta import Record, inspect_file, read_records
from genomeformer_cli.core.formats.groups import GroupBy
from genomeformer_cli.core.formats.named_records import named_records
from genomeformer_cli.core.genomes.fasta_headers import described_records
from genomeformer_cli.core.genomes.genome import cached_genomes
from genomeformer_cli.core.genomes.local import import_fasta
from genomeformer_cli.core.genomes.peek import peek_records
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import decode_bases, encode_bases
from genomeformer_cli.core.store.layout import Store
from tests.malformed import malformed, naive_records
from tests.strategies import plain_bases, repeatable

Rows = list[tuple[str, str]]
LETTERS = "ACGTNacgtnUuRYKMSWBDHVXx"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "members": lambda text: gzip.compress(text[:50]) + gzip.compress(text[50:]) + b"\0" * 64,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def embedded(path: Path) -> Rows:
    return [(one.id, decode_bases(one.codes)) for one in read_any_sequences(path)]


def labelled(path: Path) -> Rows:
    return [(one.id, decode_bases(encode_bases(one.sequence))) for one in read_records(path)]


def held_out(path: Path) -> Rows:
    found = file_sequences([path], GroupBy.RECORD)
    return [(one.record, decode_bases(one.codes)) for one in found]


def inspected(path: Path) -> Rows:
    peek = peek_records(path, 1 << 20, display_name="x")
    assert peek.whole
    return [(one.id, decode_bases(encode_bases(one.sequence))) for one in peek.records]


def imported(path: Path) -> Rows:
    """As `fetch --file` and `tokenize` import it: the copy in the cache is read."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        genome, _ = import_fasta(path, store=store, reporter=SilentReporter(), name="g")
        ((_, fasta),) = cached_genomes(store, ["g"])
        rows = embedded(fasta)
        assert (genome.num_records, genome.num_bases) == (
            len(rows),
            sum(len(bases) for _, bases in rows),
        )
        assert inspect_file(fasta) == inspect_file(path)
        return rows


READERS = (labelled, held_out, inspected, imported)


@st.composite
def written(draw: st.DrawFn) -> tuple[bytes, Rows]:
    """A valid file and its records."""
    names = draw(st.lists(st.text("abcXYZ09._|:#'\"é", min_size=1, max_size=8), min_size=1,
                          max_size=6, unique=True))  # fmt: skip
    records = [
        Record(name, draw(st.sampled_from(["", "one > two", "a\tb", "label=x"])),
               draw(st.text(LETTERS, max_size=90)))
        for name in names
    ]  # fmt: skip
    blank = st.sampled_from(["", "", " ", "\t", " \t "])
    width = draw(st.integers(1, 80))
    lines: list[str] = []
    is_fastq = draw(st.booleans())
    for one in records:
        letters = [one.sequence[i : i + width] for i in range(0, len(one.sequence), width)]
        if is_fastq:
            letters = letters if draw(st.booleans()) else [one.sequence]
            quality = [draw(st.sampled_from("@+I>;")) * len(line) for line in letters]
            lines += [f"@{one.id} {one.description}", *letters, "+", *quality]
            continue
        start = draw(st.sampled_from([">", ">", "> "]))
        lines.append(f"{start}{one.id}{draw(st.sampled_from(' ' + chr(9)))}{one.description}")
        lines += [draw(blank) + line + draw(blank) for line in letters]
        lines += draw(st.sampled_from([[], [""], [";a comment > of old"]]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = end.join(lines) + draw(st.sampled_from(["", end, end * 2]))
    if is_fastq and not records[-1].sequence:
        text += end
    content = (draw(st.sampled_from(["", "\ufeff"])) + text).encode()
    packed = PACKERS[draw(st.sampled_from(list(PACKERS)))](content)
    return packed, [(one.id, plain_bases(one.sequence)) for one in records]


@repeatable
@given(written())
def test_every_command_reads_what_was_written(file: tuple[bytes, Rows]) -> None:
    content, rows = file
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(content)
        assert embedded(path) == rows
        for read in READERS:
            assert read(path) == rows, read.__name__
        described = [(one.id, one.num_bases) for one in described_records(path, display_name="x")]
        assert described == [(name, len(bases)) for name, bases in rows]
        named = named_records(path, [name for name, _ in rows])
        assert [(one.id, decode_bases(one.codes)) for one in named] == rows


def outcomes(path: Path) -> Iterator[Rows | str]:
    """Return the records that each reader finds in a file, or its error."""
    for read in (embedded, *READERS):
        try:
            yield read(path)
        except GenomeformerError as failure:
            yield "refused" if failure.message and failure.hint else "refused without advice"


def check_mutated(seeds: range, folder: Path) -> int:
    """Return how many files were read; each is read whole, or refused, by all readers alike."""
    path, num_read = folder / "x", 0
    for seed in seeds:
        content, text = malformed(seed)
        path.write_bytes(content)
        found = list(outcomes(path))
        assert found.count(found[0]) == len(found), seed
        if isinstance(found[0], str):
            assert found[0] == "refused", seed
            continue
        num_read += 1
        if text:
            sizes = [(name, len(bases)) for name, bases in found[0]]
            assert sizes == naive_records(text), seed
    return num_read


def test_mutated_files_are_read_whole_or_refused_by_all(tmp_path: Path) -> None:
    assert 30 < check_mutated(range(150), tmp_path) < 130


@pytest.mark.slow
def test_ten_thousand_mutated_files(tmp_path: Path) -> None:
    assert check_mutated(range(1000, 11_000), tmp_path) > 2000
