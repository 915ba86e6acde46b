"""Bring genomes into the cache: the samples that ship, files of the user's own, or NCBI's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.genomes.genome import FetchedGenome
from genomeformer_cli.core.genomes.local import import_fasta
from genomeformer_cli.core.genomes.sample import install_sample, sample_genomes
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.fetch import FetchNcbiRequest, FetchResult, fetch_ncbi

__all__ = ["FetchNcbiRequest", "FetchRequest", "FetchResult", "FetchedGenome", "fetch_genomes"]


@dataclass(frozen=True, kw_only=True)
class FetchRequest:
    """What to bring in.

    Attributes:
        sample: The genomes that ship with the package.
        files: FASTA files, plain or gzip'd.
        name: Cache name of the one file given; else names are made from file names.
        ncbi: Genomes at NCBI.
    """

    sample: bool = False
    files: tuple[Path, ...] = ()
    name: str | None = None
    ncbi: FetchNcbiRequest = field(default_factory=FetchNcbiRequest)


def fetch_genomes(
    request: FetchRequest, *, reporter: Reporter, store: Store | None = None
) -> FetchResult:
    """Bring genomes into the cache.

    Raises:
        UsageError: Nothing was asked for, or `name` with several files.
        FastaError, AlphabetError: A file cannot be used; files before it are already in the cache.
        NothingMatchedError, NetworkError: NCBI has no such genomes, or cannot be reached.
    """
    store = store or Store()
    if request == FetchRequest():
        raise UsageError(
            "nothing to fetch",
            hint="try `genomeformer fetch --sample`, `--file genome.fa`, or `--taxon Mycoplasma`",
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
    if request.ncbi == FetchNcbiRequest():
        return FetchResult(genomes=tuple(fetched))
    result = fetch_ncbi(request.ncbi, reporter=reporter, store=store)
    return replace(result, genomes=(*fetched, *result.genomes))
