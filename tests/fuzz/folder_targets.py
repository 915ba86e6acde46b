"""Parsers of tables, folders of tasks, and answers and files of NCBI."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from genomeformer_cli.core.annotation.reading import annotated_records
from genomeformer_cli.core.errors import GenomeformerError
from genomeformer_cli.core.evaluation.tasks import read_suite
from genomeformer_cli.core.finetuning.config import SplitRule
from genomeformer_cli.core.finetuning.dataset import LabelledTable, label_rows
from genomeformer_cli.core.finetuning.labels import TaskKind
from genomeformer_cli.core.formats.any_sequences import read_any_sequences
from genomeformer_cli.core.formats.labelled import read_labelled
from genomeformer_cli.core.genomes.download import _Part
from genomeformer_cli.core.genomes.ncbi.datasets import Datasets
from genomeformer_cli.core.genomes.ncbi.paths import parse_md5s
from genomeformer_cli.core.genomes.ncbi.query_dir import QueryDir
from genomeformer_cli.core.genomes.ncbi.selection import Criteria
from genomeformer_cli.core.genomes.ncbi.summaries import _look_up_accessions, build_summary
from genomeformer_cli.core.genomes.ncbi.taxdump import Taxonomy, build_taxonomy
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.training.failure_file import read_failure
from genomeformer_cli.core.training.summary import read_summary
from tests.fuzz import seeds

Read = Callable[[Path], object]
ACCESSION = "GCF_000001405.1"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A parser."""

    read: Read  # Reads a file to its end.
    seeds: tuple[bytes, ...]  # Valid files, mutated.
    name: str = "input"  # Name that the file gets.


def memory_folder() -> Path | None:
    """Return a folder in memory, where a file costs no disk; None where there is none."""
    folder = Path("/dev/shm")  # noqa: S108 - temporary folders of random names are made in it
    return folder if os.access(folder, os.W_OK) else None


def _each(*reads: Callable[[], object]) -> None:
    """Call all, whether or not one before refused; refuse if all did."""
    refusals = []
    for read in reads:
        try:
            read()
        except GenomeformerError as failure:
            refusals.append(failure)
    if len(refusals) == len(reads):
        raise refusals[0]


def _suite(name: str, others: dict[str, bytes]) -> Read:
    """Return a reader of a folder of tasks in which the file takes the place of one."""

    def read(path: Path) -> object:
        folder = path.parent / f"tasks-{name.replace('/', '-')}"
        if not folder.exists():
            for other, content in {**others, name: b""}.items():
                (folder / other).parent.mkdir(parents=True, exist_ok=True)
                (folder / other).write_bytes(content)
        shutil.copyfile(path, folder / name)
        return list(read_suite(folder))

    return read


def _labels(path: Path) -> None:
    file = read_labelled(path)
    table = LabelledTable(name="t", examples=file.examples, columns=("label",), count=file.count)

    def rows(kind: TaskKind | None) -> Callable[[], object]:
        return lambda: label_rows(table, kind=kind, split=SplitRule(), reporter=SilentReporter())

    _each(*(rows(kind) for kind in (None, *TaskKind)))


def _summary(path: Path) -> object:
    database = path.with_name("summary.sqlite")
    build_summary(path, database)
    return _look_up_accessions(database, [ACCESSION, ACCESSION.partition(".")[0]])


def _taxdump(path: Path) -> None:
    archive = path.with_name("taxdump.tar.gz")
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        parts = path.read_bytes().split(b"\0")
        for name, content in zip(("nodes.dmp", "names.dmp", "merged.dmp"), parts, strict=False):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    _taxonomy(archive)


def _taxonomy(archive: Path) -> None:
    database = archive.with_name("taxonomy.sqlite")
    build_taxonomy(archive, database)
    taxonomy = Taxonomy(database)
    try:
        _each(
            lambda: taxonomy.resolve("9"),
            lambda: taxonomy.resolve("Aa b"),
            lambda: taxonomy.descendants(1),
            lambda: taxonomy.lineages([1, 2, 3, 9]),
        )
    finally:
        taxonomy.close()


def packed_taxdump() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as tar:
        names = ("nodes.dmp", "names.dmp", "merged.dmp")
        for name, table in zip(names, seeds.TAXDUMP.split(b"\0"), strict=True):
            info = tarfile.TarInfo(name)
            info.size = len(table)
            tar.addfile(info, io.BytesIO(table))
    return content.getvalue()


def _datasets(path: Path) -> None:
    """Give one answer to every request; what HTTP would try again is refused here."""

    def get(url: str, parse: Callable[[bytes], Any], **_: object) -> Any:
        del url
        try:
            return parse(path.read_bytes())
        except ValueError as failure:
            raise GenomeformerError(str(failure)) from failure

    source = Datasets(cast("Any", SimpleNamespace(get=get)), "https://a.example")
    _each(
        lambda: source.resolve("5"),
        lambda: source.resolve("x"),
        lambda: source.lineages([2, 5]),
        lambda: source.directory(ACCESSION),
        lambda: source.page([2], Criteria(), None),
        lambda: next(iter(source.members([2], Criteria())), None),
    )


def _md5s(path: Path) -> object:
    try:
        return parse_md5s(path.read_bytes())
    except ValueError:  # an answer that the transport asks for again
        return None


def _sidecar(path: Path) -> object:
    part = path.with_suffix("")
    with _Part(part, "https://a.example/x") as state:
        complete = state.complete
    part.unlink(missing_ok=True)
    return complete


def _request(path: Path) -> object:
    folder = cast("QueryDir", SimpleNamespace(path=path.parent))
    return QueryDir.read_taxa(folder)


def folder_targets() -> dict[str, Target]:
    """Return the parsers of this file by name."""
    train = b"sequence,label\nACGT,1\nACGA,0\n"
    return {
        "sequences-of-any-kind": Target(
            read=lambda path: list(read_any_sequences(path)),
            seeds=(seeds.TABLE, seeds.FASTA, seeds.FASTQ),
        ),
        "annotated": Target(
            read=lambda path: list(annotated_records(None, path, reporter=SilentReporter())),
            seeds=(seeds.ANNOTATED, seeds.GENBANK),
        ),
        "labels": Target(read=_labels, seeds=(seeds.QUANTITIES, seeds.SEVERAL, seeds.PER_BASE)),
        "task-index": Target(
            read=_suite("INDEX.tsv", {"a.tsv": seeds.TABLE, "b.tsv": seeds.TABLE}),
            seeds=(b"task\tsource\na\tx\nb\ty\n",),
        ),
        "task-csv": Target(
            read=_suite("train.csv", {"dev.csv": train, "test.csv": train}), seeds=(train,)
        ),
        "task-fasta": Target(
            read=_suite("train.fna", {"test.fna": seeds.SPLIT_FASTA}), seeds=(seeds.SPLIT_FASTA,)
        ),
        "task-text": Target(
            read=_suite(
                "train/a/1.txt",
                {"train/b/1.txt": b"ACGT\n", "test/a/2.txt": b"AC\n", "test/b/2.txt": b"GT\n"},
            ),
            seeds=(b"ACGTACGT\nACGT\n",),
        ),
        "ncbi-summary": Target(read=_summary, seeds=(seeds.SUMMARY,)),
        "ncbi-taxdump": Target(read=_taxdump, seeds=(seeds.TAXDUMP,)),
        "ncbi-taxdump-packed": Target(
            read=_taxonomy, seeds=(packed_taxdump(),), name="taxdump.tar.gz"
        ),
        "ncbi-answer": Target(read=_datasets, seeds=(seeds.TAXA,)),
        "ncbi-md5s": Target(read=_md5s, seeds=(seeds.MD5S,)),
        "ncbi-request": Target(read=_request, seeds=(seeds.REQUEST,), name="request.json"),
        "download-part": Target(read=_sidecar, seeds=(seeds.SIDECAR,), name="x.part.json"),
        "run-summary": Target(
            read=lambda path: read_summary(path.parent),
            seeds=(seeds.RUN_SUMMARY,),
            name="summary.json",
        ),
        "run-failure": Target(
            read=lambda path: read_failure(path.parent), seeds=(seeds.FAILURE,), name="verdict.json"
        ),
    }
