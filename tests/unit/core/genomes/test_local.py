"""Local files become cached genomes."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given

from genomeformer_cli.core.errors import (
    AlphabetError,
    AnnotationError,
    EntryExistsError,
    FastaError,
    StoreError,
    UsageError,
)
from genomeformer_cli.core.formats.fasta import FastaReader, Record, read_records
from genomeformer_cli.core.formats.text import TextFile
from genomeformer_cli.core.genomes.genome import GENOME_FILE, annotation_file, cached_genomes
from genomeformer_cli.core.genomes.local import import_fasta, name_from_path
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.store.seal import file_sha256
from tests.annotations import genbank
from tests.files import fill_the_disk, names_in
from tests.reporters import Listening
from tests.strategies import records, repeatable

FASTA = b">chr1 first\nACGTNacgtn\nRYKM\n>chr2\nGGGG\n"


@pytest.fixture
def store(cache_home: Path) -> Store:
    return Store(cache_home)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("genome.fa", "genome"),
        ("GCF_000005845.2_ASM584v2_genomic.fna.gz", "GCF_000005845.2_ASM584v2_genomic"),
        ("reads.fastq.gz", "reads"),
        ("my genome (1).fasta", "my_genome__1_"),
        ("naïve.fa", "na_ve"),
        (".hidden.fa", "hidden"),
        ("__.fa", "genome"),
        ("plain", "plain"),
    ],
)
def test_a_genome_is_named_for_its_file(file: str, name: str) -> None:
    assert name_from_path(Path("somewhere") / file) == name


def test_a_file_name_too_long_for_a_name_is_refused() -> None:
    with pytest.raises(UsageError):
        name_from_path(Path("a" * 200 + ".fa"))


def test_every_record_is_kept_as_it_came(tmp_path: Path, store: Store) -> None:
    genome, new = import_fasta(
        written(tmp_path / "g.fa", FASTA), store=store, reporter=SilentReporter()
    )
    assert new
    assert (genome.name, genome.num_records, genome.num_bases) == ("g", 2, 18)
    ((cached, path),) = cached_genomes(store)
    assert cached == genome
    assert gzip.decompress(path.read_bytes()) == FASTA
    assert file_sha256(path) == genome.sha256
    assert [record.id for record in read_records(path)] == ["chr1", "chr2"]
    assert store.verify(store.entry(Kind.GENOMES, "g")) == 2


def test_a_compressed_file_keeps_its_bytes(tmp_path: Path, store: Store) -> None:
    content = gzip.compress(FASTA, 1, mtime=12345)
    import_fasta(written(tmp_path / "g.fa.gz", content), store=store, reporter=SilentReporter())
    ((_, path),) = cached_genomes(store)
    assert path.read_bytes() == content


def test_the_path_of_the_file_is_not_remembered(tmp_path: Path, store: Store) -> None:
    import_fasta(written(tmp_path / "g.fa", FASTA), store=store, reporter=SilentReporter())
    text = (store.path(Kind.GENOMES, "g") / GENOME_FILE).read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert json.loads(text)["source"] == "file"


def test_the_same_content_is_found_again_however_it_is_packed(tmp_path: Path, store: Store) -> None:
    first, _ = import_fasta(
        written(tmp_path / "g.fa", FASTA), store=store, reporter=SilentReporter()
    )
    packed = written(tmp_path / "g.fa.gz", gzip.compress(FASTA))
    assert import_fasta(packed, store=store, reporter=SilentReporter()) == (first, False)


def test_a_name_taken_by_other_content_is_refused(tmp_path: Path, store: Store) -> None:
    first, _ = import_fasta(
        written(tmp_path / "g.fa", FASTA), store=store, reporter=SilentReporter()
    )
    other = written(tmp_path / "other.fa", FASTA + b">chr3\nA\n")
    with pytest.raises(EntryExistsError, match="`g`") as caught:
        import_fasta(other, store=store, reporter=SilentReporter(), name="g")
    assert "--name" in str(caught.value.hint)
    assert [genome for genome, _ in cached_genomes(store)] == [first]
    genome, new = import_fasta(other, store=store, reporter=SilentReporter(), name="g2")
    assert (genome.name, new) == ("g2", True)


def test_duplicate_ids_and_empty_records_give_warnings(tmp_path: Path, store: Store) -> None:
    path = written(tmp_path / "g.fa", b">a\nACGT\n>b\n>a\nGG\n")
    listening = Listening()
    genome, _ = import_fasta(path, store=store, reporter=listening)
    assert (genome.num_records, genome.num_bases) == (3, 6)
    empty, twice = listening.warnings
    assert "`b` is empty" in empty
    assert "`a` occurs more than once" in twice


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", FastaError), (b">p\nMKVLE\n", AlphabetError), (b"no header\n", FastaError)],
)
def test_a_file_that_cannot_be_used_leaves_nothing(
    content: bytes, error: type[Exception], tmp_path: Path, store: Store
) -> None:
    with pytest.raises(error):
        import_fasta(written(tmp_path / "g.fa", content), store=store, reporter=SilentReporter())
    assert store.entries() == []
    assert not (store.root / "genomes").exists() or names_in(store.root / "genomes") == []


def test_a_full_disk_leaves_nothing(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "g.fa", FASTA)
    fill_the_disk(monkeypatch)
    with pytest.raises(StoreError, match="No space left on device"):
        import_fasta(path, store=store, reporter=SilentReporter())
    assert names_in(store.root / "genomes") == []


def test_an_impossible_name_is_refused_before_anything_is_read(store: Store) -> None:
    with pytest.raises(UsageError):
        import_fasta(Path("nowhere.fa"), store=store, reporter=SilentReporter(), name="a/b")


@repeatable
@given(records())
def test_an_imported_genome_is_read_back(drawn: list[Record]) -> None:
    kept = drawn or [Record("only", "", "A")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g.fa"
        path.write_text("".join(f">{r.id}\n{r.sequence}\n" for r in kept), encoding="ascii")
        store = Store(Path(folder) / "cache")
        genome, _ = import_fasta(path, store=store, reporter=SilentReporter())
        ((_, fasta),) = cached_genomes(store)
        assert list(read_records(fasta)) == kept
        assert genome.num_records == len(kept)
        assert genome.num_bases == sum(len(record.sequence) for record in kept)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_that_cannot_be_copied_is_not_called_damaged(tmp_path: Path, zipped: bool) -> None:
    path = written(tmp_path / "g.fa", gzip.compress(FASTA) if zipped else FASTA)
    with Path("/dev/full").open("wb", buffering=0) as full:
        reader = FastaReader(TextFile(path, copy=full))
        with pytest.raises(StoreError, match=r"could not copy `.*g\.fa`: No space left"):
            list(reader.blocks())


@pytest.mark.parametrize(
    "pack", [bytes, lambda content: gzip.compress(content, 1)], ids=["plain", "gzip"]
)
def test_a_genbank_file_keeps_its_annotation_beside_the_sequences(
    pack: Callable[[bytes], bytes], tmp_path: Path, store: Store
) -> None:
    text = genbank("acgtnry" * 9, "gene 3..20 /locus_tag=A").encode()
    path = written(tmp_path / "my.gbk", pack(text))
    genome, new = import_fasta(path, store=store, reporter=SilentReporter())
    assert (genome.name, genome.num_bases, new) == ("my", 63, True)
    ((_, fasta),) = cached_genomes(store)
    # Lower case marks no repeats in GenBank.
    assert gzip.decompress(fasta.read_bytes()) == b">X.1\n" + b"ACGTNRY" * 9 + b"\n"
    annotation = annotation_file(genome, fasta.parent)
    assert annotation is not None
    assert gzip.decompress(annotation.read_bytes()) == text
    assert store.verify(store.entry(Kind.GENOMES, "my")) == 3
    again, new = import_fasta(path, store=store, reporter=SilentReporter())
    assert (again, new) == (genome, False)
    # The same sequence with other features is another genome.
    path.write_bytes(pack(text.replace(b"3..20", b"3..21")))
    with pytest.raises(EntryExistsError):
        import_fasta(path, store=store, reporter=SilentReporter())
    written(
        tmp_path / "empty.gbk",
        pack(genbank("", "gene 3..20 /locus_tag=A").replace(" 0 bp", "30 bp").encode()),
    )
    with pytest.raises(AnnotationError, match="no sequence"):
        import_fasta(tmp_path / "empty.gbk", store=store, reporter=SilentReporter())
    assert [entry.name for entry in store.entries(Kind.GENOMES)] == ["my"]
