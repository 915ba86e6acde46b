"""Every parser of foreign bytes, with a valid file to start from.

A target takes a file and returns, or raises an error of the package; anything else is a finding.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from genomeformer_cli.core import documents
from genomeformer_cli.core.configuration import overlay
from genomeformer_cli.core.corpus.genome_shards import load_genome_shard
from genomeformer_cli.core.corpus.reader import load_manifest
from genomeformer_cli.core.evaluation.tables import evaluation_tables
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
from genomeformer_cli.core.model_io.bundle_layout import REQUIRED
from genomeformer_cli.core.model_io.hub_client import read_address
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.model_io.tensors import WEIGHTS_FILE, read_header, weight_files
from genomeformer_cli.core.release.eval_report import read_evidence
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.store.seal import SEAL, read_seal
from genomeformer_cli.core.tokenizers.files import load_tokenizer
from genomeformer_cli.core.training.metrics import read_rows, training_bits
from genomeformer_cli.core.training.presets import PRESETS
from genomeformer_cli.core.workflows.embed_record import read_finished
from tests.bundles import make_bundle
from tests.fuzz import seeds
from tests.fuzz.folder_targets import Read, Target, folder_targets, memory_folder
from tests.fuzz.tokenizer_targets import tokenizer_targets


@cache
def bundle() -> Path:
    """Return a small bundle, made once per process."""
    folder = Path(_scratch().name) / "bundle"
    make_bundle(folder)
    return folder


@cache
def _scratch() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="genomeformer-fuzz-", dir=memory_folder())


def _in_bundle(name: str, read: Read) -> Read:
    """Return a reader of a copy of the bundle in which the file takes the place of one."""

    def run(path: Path) -> object:
        folder = path.parent / f"copy-{name}"
        if not folder.exists():
            shutil.copytree(bundle(), folder)
        shutil.copyfile(path, folder / name)
        return read(folder)

    return run


def _model_without_seal(folder: Path) -> object:
    """Compare configuration and headers; what both were from the start is not compared again."""
    from genomeformer_cli.core.model_io.model_folder import read_model_config
    from genomeformer_cli.core.model_io.skeleton import check_shapes, stored_shapes
    from genomeformer_cli.core.model_io.tensors import read_entries

    config, entries = read_model_config(folder), read_entries(folder)
    if (config, entries) != (read_model_config(bundle()), read_entries(bundle())):
        check_shapes(config, stored_shapes(entries), folder)
    return config


def _unpack(path: Path) -> object:
    with TemporaryDirectory(dir=path.parent) as home:
        return unpack_archive(path, Store(Path(home)))


def _archive(*, packed: bool) -> bytes:
    content = io.BytesIO()
    files = dict.fromkeys((*REQUIRED, WEIGHTS_FILE, "images/a.png"), b"abc")
    files.pop(SEAL, None)
    sums = [f"{hashlib.sha256(text).hexdigest()}  {name}\n" for name, text in files.items()]
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, text in {**files, SEAL: "".join(sums).encode()}.items():
            info = tarfile.TarInfo(f"gf/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return gzip.compress(content.getvalue(), 1, mtime=0) if packed else content.getvalue()


def _pack_and_unpack(path: Path) -> object:
    """Mutations of the inner archive, packed afterwards, so that they get past gzip."""
    packed = path.with_name("inner.tar.gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), 1, mtime=0))
    return _unpack(packed)


def _evaluation(path: Path) -> object:
    return [evaluation_tables(one.results) for one in read_evidence([path], ["0", ""])]


def _location(path: Path) -> object:
    try:
        return LocationReader(length=100, circular=True, names=frozenset({"A"})).read(
            path.read_bytes().decode("latin-1")
        )
    except LocationError:
        return None


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="replace")


def _bundle_target(name: str, read: Read) -> Target:
    return Target(read=_in_bundle(name, read), seeds=((bundle() / name).read_bytes(),), name=name)


@cache
def targets() -> dict[str, Target]:
    """Return all parsers by name."""
    return {
        "fasta": Target(
            read=lambda path: list(read_sequences(path)),
            seeds=(seeds.FASTA, gzip.compress(seeds.FASTA, 1, mtime=0)),
        ),
        "fastq": Target(read=lambda path: list(read_sequences(path)), seeds=(seeds.FASTQ,)),
        "gff": Target(read=lambda path: read_gff(read_lines(path), "x"), seeds=(seeds.GFF,)),
        "genbank": Target(
            read=lambda path: list(read_genbank(read_lines(path), "x")), seeds=(seeds.GENBANK,)
        ),
        "location": Target(
            read=_location, seeds=(b"complement(join(1..4,6..>9))", b"order(<1..5,9^10)")
        ),
        "vcf": Target(read=lambda path: list(read_variants(path)), seeds=(seeds.VCF,)),
        "bed": Target(read=lambda path: list(read_bed(path)), seeds=(seeds.BED,)),
        "labelled": Target(
            read=read_labelled,
            seeds=(
                seeds.TABLE,
                seeds.TABLE.replace(b"\t", b","),
                seeds.SPLIT_FASTA.replace(b"|", b" label="),
            ),
        ),
        "accessions": Target(
            read=read_accession_list, seeds=(b"GCF_000001405.1\n# x\nGCA_000001405.2\n",)
        ),
        "lock": Target(read=read_lock, seeds=(seeds.LOCK,)),
        "json": Target(read=documents.read_json, seeds=(seeds.MANIFEST, seeds.EVIDENCE)),
        "toml": Target(
            read=lambda path: overlay(PRESETS["tiny"](), documents.read_toml(path), where="x"),
            seeds=(seeds.TOML,),
        ),
        "safetensors": Target(
            read=read_header,
            seeds=(seeds.header({"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),),
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
        "metrics": Target(read=lambda path: training_bits(read_rows(path)), seeds=(seeds.METRICS,)),
        "manifest": Target(
            read=lambda path: load_manifest(path.parent),
            seeds=(seeds.MANIFEST,),
            name="manifest.json",
        ),
        "genome-shard": Target(
            read=lambda path: load_genome_shard(path.parent), seeds=(seeds.PART,), name="part.json"
        ),
        "genome": Target(
            read=lambda path: genome_from_json(documents.read_json(path)),
            seeds=(seeds.GENOME,),
            name=GENOME_FILE,
        ),
        "ncbi-report": Target(
            read=lambda path: _page({"reports": [documents.read_json(path, Any)]}),
            seeds=(seeds.REPORT,),
        ),
        "evaluation": Target(read=_evaluation, seeds=(seeds.EVIDENCE,)),
        "finished-job": Target(read=lambda path: read_finished(path, "j"), seeds=(seeds.FINISHED,)),
        "hub-address": Target(
            read=lambda path: read_address(_text(path)), seeds=(b"hf://a/b@main#" + b"0" * 64,)
        ),
        **folder_targets(),
        **tokenizer_targets(),
    }
