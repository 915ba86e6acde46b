"""Bring genomes into the cache: the samples that ship, or files of the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.genomes.genome import Genome
from genomeformer_cli.core.genomes.local import import_fasta
from genomeformer_cli.core.genomes.sample import install_sample, sample_genomes
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Store


@dataclass(frozen=True, kw_only=True)
class FetchRequest:
    """What to bring in.

    Attributes:
        sample: The genomes that ship with the package.
        files: FASTA files, plain or gzip'd.
        name: Cache name of the one file given; else names are made from file names.
    """

    sample: bool = False
    files: tuple[Path, ...] = ()
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class FetchedGenome:
    """One genome of a request, and whether it was not in the cache before."""

    genome: Genome
    new: bool


@dataclass(frozen=True, kw_only=True)
class FetchResult:
    """The genomes asked for, all of them in the cache now."""

    genomes: tuple[FetchedGenome, ...]


def fetch_genomes(
    request: FetchRequest, *, reporter: Reporter, store: Store | None = None
) -> FetchResult:
    """Bring genomes into the cache.

    Raises:
        UsageError: Nothing was asked for, or `name` with several files.
        FastaError, AlphabetError: A file cannot be used; files before it are already in the cache.
    """
    store = store or Store()
    if not request.sample and not request.files:
        raise UsageError(
            "nothing to fetch",
            hint="try `genomeformer fetch --sample` or `genomeformer fetch --file genome.fa`",
        )
    if request.name and len(request.files) != 1:
        raise UsageError("`--name` names one file", hint="give one `--file`, or leave `--name` out")
    fetched = [
        FetchedGenome(genome=g, new=install_sample(g, store=store))
        for g in sample_genomes()
        if request.sample
    ]
    for path in request.files:
        genome, new = import_fasta(path, store=store, reporter=reporter, name=request.name)
        fetched.append(FetchedGenome(genome=genome, new=new))
    return FetchResult(genomes=tuple(fetched))
