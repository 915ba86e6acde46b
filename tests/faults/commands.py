"""Every command that writes, small; run on a copy of one prepared cache and folder."""

from __future__ import annotations

import gc
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Self

import pytest

from genomeformer_cli.core.embedding.formats import FORMATS
from tests.annotations import MYCOPLASMA_FASTA, MYCOPLASMA_GFF
from tests.faults.harness import Place
from tests.mini_ncbi.server import MiniNcbi
from tests.mini_ncbi.world import make_world
from tests.one_process import stay_in_one_process
from tests.published_folders import pickle_weights, write_published

ACCESSION = "GCF_000005845.2"
CONFIG = """
[model]
context = 64
width = 16
depth = 1
num_heads = 2
mlp_width = 32
attention = { name = "performer", num_features = 8 }
[training]
steps = 4
batch_size = 4
validation_windows = 8
validate_every = 2
checkpoint_every = 2
[compute]
precision = "fp32"
compile = "off"
"""
CPU = ("--device", "cpu")
FINETUNE = (
    *("finetune", "data.tsv", "--model", "released", "--name", "new", "--epochs", "2"),
    *("--set", "training.batch_size=16", "--set", "compute.precision=fp32", *CPU),
)


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that writes."""

    line: tuple[str, ...]  # Arguments.
    repeats: bool = True  # True if a finished one can be run again; otherwise it is refused.


def _embed(suffix: str, *more: str) -> Command:
    line = ("embed", "x.fa", "--model", "released", "-o", f"v{suffix}", "--ids", "ids.txt")
    return Command(line=(*line, *CPU, *more))


COMMANDS = {
    "fetch --file": Command(line=("fetch", "--file", "x.fa", "--name", "mine")),
    "fetch": Command(line=("fetch", "--accession", ACCESSION, "--set", "connection.rate=2000")),
    "tokenize": Command(
        line=("tokenize", "--all", "--name", "new", "--tokenizer", "kmer", "--jobs", "1")
    ),
    "tokenize FASTA": Command(
        line=("tokenize", "x.fa", "--name", "new", "--tokenizer", "bpe", "--vocab-size", "20")
    ),
    "pretrain": Command(
        line=("pretrain", "--corpus", "phage", "--name", "new", "--config", "small.toml", *CPU)
    ),
    **{f"embed {suffix}": _embed(suffix, "--resume") for suffix in FORMATS},
    "embed": _embed(".npy"),
    "score": Command(
        line=("score", "x.fa", "--model", "released", "-o", "s.tsv", "--per-base", "b.tsv", *CPU)
    ),
    "embed pickled": Command(line=("embed", "x.fa", "--model", "published", "-o", "v.npy", *CPU)),
    "generate": Command(
        line=("generate", "gaps.fa", "--infill", "--model", "released", "-o", "filled.fa", *CPU)
    ),
    "explain": Command(
        line=(
            *("explain", "gaps.fa", "--tile", "30", "--dependencies", "--model", "released"),
            *("-o", "e.tsv", *CPU),
        )
    ),
    "score --vcf": Command(
        line=(
            *("score", "--vcf", "x.vcf", "--genome", "x.fa", "--model", "released"),
            *("-o", "scored.vcf.gz", *CPU),
        )
    ),
    "predict --tile": Command(
        line=(
            *("predict", "x.fa", "--model", "tuned", "--tile", "20", "--resume"),
            *("-o", "h.bed", "-o", "h.tsv", *CPU),
        )
    ),
    "predict": Command(line=("predict", "x.fa", "--model", "tuned", "-o", "p.tsv", *CPU)),
    "windows": Command(
        line=(
            *("windows", "--fasta", str(MYCOPLASMA_FASTA), "--gff", str(MYCOPLASMA_GFF)),
            *("--length", "60", "--promoter", "45,15", "--per-class", "5", "-o", "w"),
        ),
        repeats=False,
    ),
    "finetune": Command(line=(*FINETUNE, "-o", "bundle")),
    "release": Command(line=("release", "run", "--name", "new", "-o", "bundle")),
    "release --replace": Command(
        line=("release", "run", "--name", "released", "--author", "A", "--replace", "-o", "bundle")
    ),
    "release --archive": Command(
        line=("release", "weights/released", "--archive", "released.tar.gz")
    ),
    "compare": Command(
        line=(
            *("compare", "phage", "--name", "new", "--config", "small.toml", "--tokens", "1024"),
            *("--attention", "performer", *CPU),
        )
    ),
    "evaluate": Command(
        line=("evaluate", "released", "--no-likelihood", "--task", "data.tsv", "-o", "report", *CPU)
    ),
    "cache rm": Command(line=("cache", "rm", "corpora/phage"), repeats=False),
}

# The default tests take these.
SAMPLE = ("fetch", "tokenize", "embed .npy", "release", "score", "cache rm")


class _SameDay(datetime):
    """Dates of fetched genomes that do not change at midnight."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls(2026, 1, 2, tzinfo=tz)


def _make_small() -> None:
    """Make groups of records small, and save the fresh processes, which are not under test."""
    import torch

    from genomeformer_cli.core.genomes import local
    from genomeformer_cli.core.genomes.ncbi import install
    from genomeformer_cli.core.workflows import embed

    torch.set_num_threads(1)
    embed._BASES = 200
    for dated in (local, install):
        vars(dated)["datetime"] = _SameDay
    stay_in_one_process(pytest.MonkeyPatch())


def import_everything() -> None:
    """Import what the commands import, so that forks need not."""
    import importlib
    import pkgutil

    import genomeformer_cli

    libraries = ("h5py", "pyarrow.parquet", "matplotlib.pyplot", "PIL.Image", "sklearn.metrics")
    # torch imports its compiler with the first optimizer: a second of every fork.
    for name in (*libraries, "torch._dynamo"):
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    for module in pkgutil.walk_packages(genomeformer_cli.__path__, "genomeformer_cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


@contextmanager
def prepared(root: Path) -> Iterator[tuple[Place, Path]]:
    """Yield a place for commands, and the prepared contents to reset it to."""
    import_everything()
    gc.freeze()  # a collection in a fork would copy every page
    world = make_world(smallest=3_000, largest=4_000, only=(ACCESSION,))
    with MiniNcbi(world=world) as server:
        urls = {"GENOMEFORMER_BASE_URL": server.base_url, "GENOMEFORMER_FTP_URL": server.url}
        place = Place(root=root / "place", environment=urls, prepare=_make_small)
        base = root / "base"
        (base / "cwd").mkdir(parents=True)
        (base / "cache").mkdir()
        _write_inputs(base / "cwd")
        place.reset(base)
        for line in (
            ("fetch", "--sample"),
            ("tokenize", "--all", "--name", "phage"),
            ("pretrain", "--corpus", "phage", "--name", "run", "--config", "small.toml", *CPU),
            ("release", "run", "--name", "released"),
            ("tuned" if word == "new" else word for word in FINETUNE),
        ):
            done = place.run(tuple(line))
            if done.code:
                raise RuntimeError(done.err)
        shutil.rmtree(base)
        shutil.copytree(place.root, base)
        try:
            yield place, base
        finally:
            gc.unfreeze()


def _write_inputs(folder: Path) -> None:
    draw = random.Random(1)
    letters = ["".join(draw.choice("ACGT") for _ in range(60 + n)) for n in range(24)]
    (folder / "x.fa").write_text("".join(f">r{n}\n{s}\n" for n, s in enumerate(letters[:8])))
    rows = ["id\tsequence\tlabel"]
    rows += [f"r{n}\t{s}\t{'even' if n % 2 else 'odd'}" for n, s in enumerate(letters * 2)]
    rows = [rows[0], *(f"r{n}\t{s}\t{'ab'[n % 2]}" for n, s in enumerate(letters))]
    (folder / "data.tsv").write_text("\n".join(rows) + "\n")
    (folder / "small.toml").write_text(CONFIG)
    (folder / "gaps.fa").write_text(f">g\n{letters[0][:30]}NNNN{letters[0][30:]}\n")
    changes = "".join(f"r0\t{n}\t.\t{letters[0][n - 1]}\tN\n" for n in (3, 9))
    substitution = f"r1\t5\t.\t{letters[1][4]}\t{'ACGT'.replace(letters[1][4], '')[0]}\n"
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n"
    (folder / "x.vcf").write_text(header + changes + substitution)
    write_published("hyenadna", folder / "published")
    pickle_weights(folder / "published")
