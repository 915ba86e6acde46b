"""Every parser of foreign bytes, with a valid file to start from.

A target takes a file and returns, or raises an error of the package; anything else is a finding.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from genomeformer_cli.core import documents
from genomeformer_cli.core.configuration import overlay
from genomeformer_cli.core.corpus.genome_shards import load_genome_shard
from genomeformer_cli.core.corpus.reader import load_manifest
from genomeformer_cli.core.formats.accessions import read_accession_list
from genomeformer_cli.core.formats.bed import read_bed
from genomeformer_cli.core.formats.genbank import read_genbank
from genomeformer_cli.core.formats.gff import read_gff
from genomeformer_cli.core.formats.labelled import read_labelled
from genomeformer_cli.core.formats.location import LocationError, LocationReader
from genomeformer_cli.core.formats.sequences import read_sequences
from genomeformer_cli.core.formats.text import read_lines
from genomeformer_cli.core.formats.vcf import read_variants
from genomeformer_cli.core.genomes.genome import GENOME_FILE, genome_from_json
from genomeformer_cli.core.genomes.lockfile import read_lock
from genomeformer_cli.core.genomes.ncbi.datasets import _page
from genomeformer_cli.core.model_io.archive import unpack_archive
from genomeformer_cli.core.model_io.hub import read_address
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.model_io.tensors import read_header, weight_files
from genomeformer_cli.core.release.eval_report import read_evidence
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.store.seal import SEAL, read_seal
from genomeformer_cli.core.tokenizers.files import load_tokenizer
from genomeformer_cli.core.training.metrics import read_rows, training_bits
from genomeformer_cli.core.training.presets import PRESETS
from genomeformer_cli.core.workflows.embed_record import read_finished
from tests.bundles import make_bundle

Read = Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A parser.

    Attributes:
        read: Reads a file to its end.
        seeds: Valid files, mutated.
        name: Name that the file gets.
    """

    read: Read
    seeds: tuple[bytes, ...]
    name: str = "input"


@cache
def bundle() -> Path:
    """Return a small bundle, made once per process."""
    folder = Path(_scratch().name) / "bundle"
    make_bundle(folder)
    return folder


@cache
def _scratch() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="genomeformer-fuzz-")


def _in_bundle(name: str, read: Read) -> Read:
    """Return a reader of a copy of the bundle in which the file takes the place of one."""

    def run(path: Path) -> object:
        folder = path.parent / "copy"
        if not folder.exists():
            shutil.copytree(bundle(), folder)
        shutil.copyfile(path, folder / name)
        try:
            return read(folder)
        finally:
            shutil.copyfile(bundle() / name, folder / name)

    return run


def _model_without_seal(folder: Path) -> object:
    from genomeformer_cli.core.model_io.model_folder import read_model_config
    from genomeformer_cli.core.model_io.skeleton import check_shapes
    from genomeformer_cli.core.model_io.tensors import read_entries

    config = read_model_config(folder)
    check_shapes(config, read_entries(folder), folder)
    return config


def _unpack(path: Path) -> object:
    with TemporaryDirectory(dir=path.parent) as home:
        return unpack_archive(path, Store(Path(home)))


def _archive(*, packed: bool) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("README.md", "LICENSE", "images/a.png", SEAL):
            info = tarfile.TarInfo(f"gf/{name}")
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    return gzip.compress(content.getvalue(), 1, mtime=0) if packed else content.getvalue()


def _pack_and_unpack(path: Path) -> object:
    """Mutations of the inner archive, packed afterwards, so that they get past gzip."""
    packed = path.with_name("inner.tar.gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), 1, mtime=0))
    return _unpack(packed)


def _location(path: Path) -> object:
    try:
        return LocationReader(length=100, circular=True, names=frozenset({"A"})).read(
            path.read_bytes().decode("latin-1")
        )
    except LocationError:
        return None


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="replace")


def _header(value: object) -> bytes:
    text = json.dumps(value).encode()
    return struct.pack("<Q", len(text)) + text + bytes(16)


_TOML = b"[model]\nwidth = 64\n[model.attention]\nname = 'linear'\n[training]\nsteps = 5\n"
_LOCK = (
    b'{"accession": "GCF_000001.1", "taxid": 1, "url": "https://a.example/x.fna.gz", "md5": "00", '
    b'"bytes": 5, "lineage": [[1, "a", "species"]], "annotation": [{"format": "gff", "url": '
    b'"https://a.example/x.gff.gz", "md5": "0", "bytes": 1}]}\n{"accession": "mine", "taxid": 0, '
    b'"organism": "", "licence": "", "retrieved": "", "source": "file", "sha256": "", '
    b'"records": ["a"]}\n'
).replace(b"GCF_000001.1", b"GCF_000001405.1")
_FASTA = b">a first\nACGTNacgtRYK\nACGT\n>b\n\n>c\r\nAC GT\r\n"
_FASTQ = b"@a\nACGT\n+\nIIII\n@b x\nAC\nGT\n+b\n@@@@\n"
_GFF = (
    b"##gff-version 3\n##sequence-region a 1 100\na\tx\tgene\t1\t90\t.\t+\t.\tID=g;Name=n%3B\n"
    b"a\tx\tmRNA\t1\t90\t.\t+\t.\tID=m;Parent=g\na\tx\tCDS\t1\t30\t.\t+\t0\tID=c;Parent=m\n"
    b"a\tx\tCDS\t40\t90\t.\t-\t2\tID=c;Parent=m\n##FASTA\n>a\nACGT\n"
)
_GENBANK = (
    b"LOCUS       AB 12 bp DNA circular BCT 01-JAN-2000\nDEFINITION  x.\nACCESSION   AB\n"
    b"VERSION     AB.1\nFEATURES             Location/Qualifiers\n     source          1..12\n"
    b'                     /organism="O"\n     CDS             complement(join(1..4,6..9))\n'
    b'                     /gene="g"\n                     /codon_start=1\nORIGIN\n'
    b"        1 acgtacgtac gt\n//\n"
)
_VCF = (
    b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    b"a\t3\trs1\tA\tG,T\t.\tPASS\tX=1\na\t9\t.\tAC\t<DEL>\t.\t.\t.\n"
)
_BED = b"track name=x\na\t0\t10\tn\t5\t+\na\t5\t9\nb\t1\t20\tn\t0\t-\t1\t20\t0\t2\t3,4\t0,15\n"
_TABLE = b"sequence\tlabel\tsplit\nACGT\t1\ttrain\nACGA\t0\ttest\n"
_METRICS = (
    b'{"step": 1, "training": {"bits_per_base": 2.0, "num_bases": 5, "accuracy": 0.5}}\n'
    b'{"step": 2, "training": {"bits_per_base": NaN, "num_bases": 5}, "left_out": true}\n'
)
_MANIFEST = json.dumps(
    {
        "format": 1, "name": "c", "tokenizer": "char", "vocabulary_sha256": "0", "dtype": "uint8",
        "shard_tokens": [4], "has_soft_mask": True, "inputs_sha256": "0", "split_rule": "tail",
        "num_train": 4, "num_validation": 0, "base_counts": {"A": 1}, "num_soft_masked": 0,
        "genomes": [{"name": "g"}], "tokenizer_settings": {},
    }
).encode()  # fmt: skip
_PART = json.dumps(
    {
        "num_records": 1, "num_bases": 4, "base_counts": [1, 1, 1, 1, 0], "num_soft_masked": 0,
        "shard_tokens": [4], "empty": [], "sha256": {"a": "0"},
        "records": [{"record": "r", "length": 4, "shard": 0, "offset": 0, "num_bases": 4}],
    }
).encode()  # fmt: skip
_GENOME = json.dumps(
    {
        "name": "g", "fasta": "g.fa", "sha256": "0", "num_records": 1, "num_bases": 4,
        "source": "file", "retrieved": "2026-01-01", "taxid": 5, "lineage": [{"taxid": 1}],
        "files": [{"format": "fasta", "file": "f", "url": "u", "md5": "0", "num_bytes": 4}],
    }
).encode()  # fmt: skip
_REPORT = json.dumps(
    {
        "accession": "GCF_000001405.1", "organism": {"tax_id": 5, "organism_name": "x"},
        "assembly_info": {"assembly_level": "Contig", "release_date": "2020-01-01",
                          "assembly_status": "current", "atypical": {"warnings": []}},
        "assembly_stats": {"total_sequence_length": "500", "contig_n50": 3},
        "annotation_info": {}, "checkm_info": {"completeness": 99.0},
    }
).encode()  # fmt: skip
_EVIDENCE = b'{"model": "m", "tasks": [{"points": [], "name": "t"}], "predictions": [{}]}'
_FINISHED = (
    b'{"job": "j", "rows": 1, "width": 2, "records": 1, "output": {"bytes": 1, "sha256": "0"}}'
)


def _bundle_target(name: str, read: Read) -> Target:
    return Target(read=_in_bundle(name, read), seeds=((bundle() / name).read_bytes(),), name=name)


@cache
def targets() -> dict[str, Target]:
    """Return all parsers by name."""
    return {
        "fasta": Target(
            read=lambda path: list(read_sequences(path)),
            seeds=(_FASTA, gzip.compress(_FASTA, 1, mtime=0)),
        ),
        "fastq": Target(read=lambda path: list(read_sequences(path)), seeds=(_FASTQ,)),
        "gff": Target(read=lambda path: read_gff(read_lines(path), "x"), seeds=(_GFF,)),
        "genbank": Target(
            read=lambda path: list(read_genbank(read_lines(path), "x")), seeds=(_GENBANK,)
        ),
        "location": Target(
            read=_location, seeds=(b"complement(join(1..4,6..>9))", b"order(<1..5,9^10)")
        ),
        "vcf": Target(read=lambda path: list(read_variants(path)), seeds=(_VCF,)),
        "bed": Target(read=lambda path: list(read_bed(path)), seeds=(_BED,)),
        "labelled": Target(read=read_labelled, seeds=(_TABLE, _TABLE.replace(b"\t", b","), _FASTA)),
        "accessions": Target(
            read=read_accession_list, seeds=(b"GCF_000001405.1\n# x\nGCA_000001405.2\tx\n",)
        ),
        "lock": Target(read=read_lock, seeds=(_LOCK,)),
        "json": Target(read=documents.read_json, seeds=(_MANIFEST, _EVIDENCE)),
        "toml": Target(
            read=lambda path: overlay(PRESETS["tiny"](), documents.read_toml(path), where="x"),
            seeds=(
                b"[model]\nwidth = 64\n[model.attention]\nname = 'linear'\n[training]\nsteps = 5\n",
            ),
        ),
        "safetensors": Target(
            read=read_header,
            seeds=(_header({"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),),
        ),
        "weights-index": Target(
            read=lambda path: weight_files(path.parent),
            seeds=(b'{"weight_map": {"a": "model-00001-of-00002.safetensors"}}',),
            name="model.safetensors.index.json",
        ),
        "config": _bundle_target("config.json", _model_without_seal),
        "tokenizer": _bundle_target("tokenizer.json", load_tokenizer),
        "tokenizer-config": _bundle_target("tokenizer_config.json", load_tokenizer),
        "weights": _bundle_target("model.safetensors", _model_without_seal),
        "bundle": _bundle_target(SEAL, read_model),
        "seal": Target(
            read=lambda path: read_seal(path.parent), seeds=(b"0" * 64 + b"  a/b\n",), name=SEAL
        ),
        "archive": Target(read=_unpack, seeds=(_archive(packed=True),)),
        "archive-inner": Target(read=_pack_and_unpack, seeds=(_archive(packed=False),)),
        "metrics": Target(read=lambda path: training_bits(read_rows(path)), seeds=(_METRICS,)),
        "manifest": Target(
            read=lambda path: load_manifest(path.parent), seeds=(_MANIFEST,), name="manifest.json"
        ),
        "genome-shard": Target(
            read=lambda path: load_genome_shard(path.parent), seeds=(_PART,), name="part.json"
        ),
        "genome": Target(
            read=lambda path: genome_from_json(documents.read_json(path)),
            seeds=(_GENOME,),
            name=GENOME_FILE,
        ),
        "ncbi-report": Target(
            read=lambda path: _page({"reports": [documents.read_json(path, Any)]}), seeds=(_REPORT,)
        ),
        "evaluation": Target(read=lambda path: read_evidence([path], ["0"]), seeds=(_EVIDENCE,)),
        "finished-job": Target(read=lambda path: read_finished(path, "j"), seeds=(_FINISHED,)),
        "hub-address": Target(
            read=lambda path: read_address(_text(path)), seeds=(b"hf://a/b@main#" + b"0" * 64,)
        ),
    }
