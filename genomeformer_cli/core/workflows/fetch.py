"""Fetch genomes into the cache: from NCBI by taxon, accession or lock file, from files, or samples.

NCBI: resolve names -> list assemblies -> filter and select -> compare with the cache -> check the
disk -> download, verify, seal -> write the lock file and report changes since the last fetch. Every
step can be interrupted; the same request again resumes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from genomeformer_cli.core.errors import ConfigError, NothingMatchedError, PartialError, UsageError
from genomeformer_cli.core.formats.accessions import read_accession_list
from genomeformer_cli.core.formats.text import local_copy
from genomeformer_cli.core.genomes.genome import FetchedGenome
from genomeformer_cli.core.genomes.gtdb import GTDB, fetch_metadata, find_genomes
from genomeformer_cli.core.genomes.local import import_fasta
from genomeformer_cli.core.genomes.lockfile import read_lock, row_of, write_lock
from genomeformer_cli.core.genomes.ncbi.batch import FileMeter, install_all
from genomeformer_cli.core.genomes.ncbi.install import Installer
from genomeformer_cli.core.genomes.ncbi.lineage import with_lineages
from genomeformer_cli.core.genomes.ncbi.plan import Plan, check_space, make_plan
from genomeformer_cli.core.genomes.ncbi.query import Matches, QuerySource, match_assemblies
from genomeformer_cli.core.genomes.ncbi.query_dir import AssemblyQuery, Failure, QueryDir
from genomeformer_cli.core.genomes.ncbi.remote_files import FetchItem, fetch_item
from genomeformer_cli.core.genomes.ncbi.selection import (
    MAGS,
    SOURCES,
    Criteria,
    parse_date,
    parse_formats,
    parse_levels,
    parse_top_per,
    parse_word,
)
from genomeformer_cli.core.genomes.ncbi.session import Session
from genomeformer_cli.core.genomes.ncbi.update import Update, compare, prune
from genomeformer_cli.core.genomes.sample import install_sample, sample_genomes
from genomeformer_cli.core.proposals import count_noun
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.settings import gtdb_url
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.fetch_request import NCBI, FetchNcbiRequest

__all__ = ["FetchNcbiRequest", "FetchResult", "fetch_ncbi"]


@dataclass(frozen=True, kw_only=True)
class FetchResult:
    """Result of a fetch."""

    genomes: tuple[FetchedGenome, ...] = ()  # Requested genomes that are in the cache.
    # Number of assemblies, bases and bytes, and disk space; None without NCBI.
    plan: Plan | None = None
    num_bytes: int = 0  # Downloaded bytes.
    failures: tuple[Failure, ...] = ()  # Genomes that could not be fetched, with reasons.
    update: Update | None = None  # Changes since the last fetch of the same request.
    left_out: dict[str, int] = field(default_factory=dict)  # Assemblies excluded by each filter.
    lock: Path | None = None  # Path of the lock file; None if none was written.
    dry_run: bool = False  # True if nothing was fetched on request.

    def raise_for_failures(self) -> None:
        """Raise if genomes could not be fetched; called after the others are shown.

        Raises:
            PartialError: Some genomes could not be fetched.
        """
        if self.failures:
            number = len(self.failures)
            raise PartialError(
                f"{number} of {number + len(self.genomes)} genomes could not be fetched",
                hint="run the command again: it fetches only what is missing",
            )


def fetch_ncbi(
    request: FetchNcbiRequest, *, reporter: Reporter, store: Store | None = None
) -> FetchResult:
    """Fetch genomes from NCBI into the cache.

    Args:
        request: Selection and options.
        reporter: Receives progress.
        store: Cache; default: from the environment.

    Raises:
        UsageError: The request contradicts itself.
        NothingMatchedError: No assembly matches.
        NetworkError: NCBI is not reachable; the same request again resumes.
        StoreError: The disk is full, or the cache is not writable.
    """
    store = store if store is not None else Store()
    if request.taxonomy != NCBI:
        request = _without_gtdb_names(request, store, reporter)
    inquiry = _inquiry(request, reporter)
    folder = QueryDir(store.root, inquiry)
    with Session(
        request,
        store.root / "catalogue",
        offline=request.offline,
        refresh=request.refresh,
        reporter=reporter,
    ) as session:
        if request.lock is not None:
            orders = read_lock_items(request.lock, reporter)
            matches = Matches()
        else:
            matches = match_assemblies(
                inquiry,
                QuerySource(
                    metadata=session.metadata,
                    folder=folder,
                    reporter=reporter,
                    offline=request.offline,
                    refresh=request.refresh,
                ),
            )
            orders = [FetchItem(assembly=assembly) for assembly in matches.assemblies]
        installer = Installer(
            store=store,
            transport=session.files,
            ftp_url=request.genomes_address,
            find_directory=session.metadata.directory,
            formats=parse_formats(request.formats),
            verify=request.verify,
            open_meter=lambda name: FileMeter(name, reporter),
            slots=threading.BoundedSemaphore(request.jobs),
        )
        plan = make_plan(orders, installer)
        if request.dry_run:
            return FetchResult(plan=plan, left_out=matches.excluded, dry_run=True)
        check_space(plan)
        if request.lock is None and not request.offline:
            orders = with_lineages(orders, installer, session.metadata, reporter)
        batch = install_all(
            orders, installer, workers=2 * request.jobs, cancel=session.cancel, reporter=reporter
        )
        failures = (*matches.failures, *batch.failures)
        update = None
        if request.lock is None:
            metadata = None if request.offline else session.metadata
            update = compare(folder.read_lock(), matches.assemblies, metadata)
            if request.prune:
                update = replace(update, pruned=prune(update, store))
    rows = [row_of(fetched.genome) for fetched in batch.genomes]
    if request.lock is None:
        folder.write(rows, failures)
    if request.save_lock is not None:
        write_lock(request.save_lock, rows)
    return FetchResult(
        genomes=batch.genomes,
        plan=plan,
        num_bytes=batch.num_bytes,
        failures=failures,
        update=update,
        left_out=matches.excluded,
        lock=folder.lock if request.lock is None else None,
    )


def _without_gtdb_names(
    request: FetchNcbiRequest, store: Store, reporter: Reporter
) -> FetchNcbiRequest:
    """Replace the taxa of GTDB by their genomes.

    Raises:
        UsageError: No taxon is named.
        NothingMatchedError: NCBI has no genome of the taxa.
    """
    if not request.taxa:
        raise UsageError(
            "`--taxonomy` is about names, and none is given",
            hint="add `--taxon`, such as `--taxon g__Bacillus`",
        )
    if request.taxonomy == GTDB:
        with (
            Session(
                request,
                store.root / "catalogue",
                offline=request.offline,
                refresh=request.refresh,
                reporter=reporter,
            ) as session,
            FileMeter("metadata of GTDB", reporter) as meter,
        ):
            paths = fetch_metadata(
                session.files,
                gtdb_url(),
                store.root / "catalogue",
                refresh=request.refresh,
                meter=meter,
            )
    else:
        paths = [Path(request.taxonomy)]
    genomes = find_genomes(
        paths,
        request.taxa,
        without=request.exclude_taxa,
        representatives=request.representatives,
    )
    if not genomes.accessions:
        raise NothingMatchedError(
            f"NCBI has none of the {count_noun(genomes.num_members, 'genome')} of "
            f"{', '.join(request.taxa)}",
            hint="choose another taxon, or `--set filter.representatives=false`",
        )
    if request.representatives and not genomes.marks_representatives:
        reporter.warn(
            "a taxonomy file does not mark the representatives of species: all genomes are "
            "chosen; a metadata file of GTDB marks them"
        )
    text = f"GTDB: {count_noun(genomes.num_members, 'genome')} of {', '.join(request.taxa)}"
    if genomes.num_elsewhere:
        text += f", {genomes.num_elsewhere:,} of the chosen ones not at NCBI"
    reporter.note(f"{text}; {len(genomes.accessions):,} chosen")
    return replace(
        request,
        taxa=(),
        exclude_taxa=(),
        accessions=(*request.accessions, *genomes.accessions),
    )


def _inquiry(request: FetchNcbiRequest, reporter: Reporter) -> AssemblyQuery:
    if not request.names_genomes:
        raise UsageError(
            "these options select genomes at NCBI, and none is named",
            hint="give `--taxon`, `--accession`, `--accession-file` or `--lock`",
        )
    accessions = (*request.accessions, *_read_accessions(request.accession_file, reporter))
    if request.lock and (request.taxa or accessions):
        raise UsageError(
            "`--lock` already lists the genomes to fetch",
            hint="leave out `--taxon` and `--accession`",
        )
    if request.offline and request.refresh:
        raise UsageError(
            "`--offline` and `--refresh` exclude each other", hint="leave one of them out"
        )
    for option, value in (("connection.jobs", request.jobs), ("--limit", request.limit)):
        if value is not None and value < 1:
            raise UsageError(f"`{option}` must be at least 1", hint="leave it out for the default")
    if request.rate is not None and not request.rate > 0:
        raise UsageError(
            "`connection.rate` must be above 0", hint="leave it out to use NCBI's limit"
        )
    inquiry = AssemblyQuery(
        taxa=request.taxa,
        exclude_taxa=request.exclude_taxa,
        accessions=accessions,
        criteria=Criteria(
            source=parse_word(request.source, SOURCES, "--source"),
            levels=parse_levels(request.level),
            reference=request.reference,
            mag=parse_word(request.mag, MAGS, "filter.mag"),
            type_material=request.type_material,
            released_after=parse_date(request.released_after),
            released_before=parse_date(request.released_before),
            min_length=request.min_length,
            max_contigs=request.max_contigs,
            min_completeness=request.min_completeness,
            max_contamination=request.max_contamination,
            exclude_atypical=request.exclude_atypical,
        ),
        top_per=parse_top_per(request.top_per) if request.top_per else None,
        limit=request.limit,
    )
    if not request.taxa and inquiry.filters_anything:
        raise UsageError(
            "filters apply to `--taxon`; they do not change accessions or lock files",
            hint="leave the filters out",
        )
    return inquiry


def _read_accessions(source: str | None, reporter: Reporter) -> tuple[str, ...]:
    if source is None:
        return ()
    with local_copy(source, command="fetch --accession-file -") as (path, display_name):
        accessions = read_accession_list(path, display_name=display_name)
    reporter.note(f"`{display_name}`: {count_noun(len(accessions), 'accession')}")
    return accessions


def read_lock_items(lock: Path, reporter: Reporter) -> list[FetchItem]:
    """Return the items of a lock file; genomes without a host are skipped with a warning.

    Raises:
        ConfigError: The lock file is invalid, or has nothing to fetch.
    """
    rows = read_lock(lock)
    without_files = [row.accession for row in rows if not row.files]
    if len(without_files) == len(rows):
        raise ConfigError(
            f"of the genomes in `{lock}` none was fetched from NCBI, so none can be fetched again",
            hint="import them with `genomeformer fetch --file`",
        )
    if without_files:
        reporter.warn(
            f"{len(without_files)} of the genomes in `{lock}` were not fetched from NCBI and "
            "cannot be "
            f"fetched again: {', '.join(without_files[:12])}"
        )
    return [fetch_item(row) for row in rows if row.files]


@dataclass(frozen=True, kw_only=True)
class FetchRequest:
    """Request to fetch genomes."""

    sample: bool = False  # Fetch the sample genomes of the package.
    files: tuple[Path, ...] = ()  # FASTA files, plain or gzip.
    name: str | None = None  # Cache name of a single file; otherwise names derive from file names.
    ncbi: FetchNcbiRequest = field(default_factory=FetchNcbiRequest)  # Genomes from NCBI.


def fetch_genomes(
    request: FetchRequest, *, reporter: Reporter, store: Store | None = None
) -> FetchResult:
    """Fetch genomes into the cache.

    Raises:
        UsageError: The request is empty, or has a name for several files.
        FastaError, AlphabetError: A file is invalid; earlier files are already in the cache.
        NothingMatchedError, NetworkError: NCBI has no such genomes, or is not reachable.
    """
    store = store or Store()
    if request == FetchRequest():
        raise UsageError(
            "nothing to fetch",
            hint="try `genomeformer fetch --sample`, `--file genome.fa`, or `--taxon Mycoplasma`",
        )
    if request.name and len(request.files) != 1:
        raise UsageError(
            "`--name` applies to a single `--file`", hint="give one `--file`, or leave `--name` out"
        )
    fetched = [
        FetchedGenome(genome=g, new=install_sample(g, store=store))
        for g in sample_genomes()
        if request.sample
    ]
    for path in request.files:
        reporter.debug(f"input: {path}")
        genome, new = import_fasta(path, store=store, reporter=reporter, name=request.name)
        fetched.append(FetchedGenome(genome=genome, new=new))
    if request.ncbi == FetchNcbiRequest():
        return FetchResult(genomes=tuple(fetched))
    result = fetch_ncbi(request.ncbi, reporter=reporter, store=store)
    return replace(result, genomes=(*fetched, *result.genomes))
