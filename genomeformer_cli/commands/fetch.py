"""`genomeformer fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from genomeformer_cli.commands._options import JsonOption
from genomeformer_cli.render import fetch_options as o

EXAMPLE = "Example:  genomeformer fetch --taxon Mycoplasmoides --level complete --top-per species:1"


def command(
    *,
    sample: Annotated[
        bool,
        Option(
            "--sample",
            help="The real genomes that ship with the package: phiX174, lambda, M. genitalium.",
        ),
    ] = False,
    file: Annotated[
        list[Path] | None,
        Option(
            "--file",
            help="A FASTA file of your own, plain or .gz, `-` for stdin; repeatable. "
            "Every record is kept.",
        ),
    ] = None,
    name: Annotated[str | None, Option(help="Name in the cache for the one file given.")] = None,
    taxon: o.TaxonOption = None,
    exclude_taxon: o.ExcludeTaxonOption = None,
    accession: o.AccessionOption = None,
    accession_file: o.AccessionFileOption = None,
    lock: o.LockOption = None,
    formats: o.FormatOption = "fasta",
    source: o.SourceOption = "refseq",
    level: o.LevelOption = "",
    reference: o.ReferenceOption = False,
    mag: o.MagOption = "include",
    type_material: o.TypeMaterialOption = False,
    released_after: o.ReleasedAfterOption = None,
    released_before: o.ReleasedBeforeOption = None,
    min_length: o.MinLengthOption = None,
    max_contigs: o.MaxContigsOption = None,
    min_completeness: o.MinCompletenessOption = None,
    max_contamination: o.MaxContaminationOption = None,
    exclude_atypical: o.ExcludeAtypicalOption = True,
    top_per: o.TopPerOption = None,
    limit: o.LimitOption = None,
    jobs: o.JobsOption = 4,
    retries: o.RetriesOption = 8,
    rate: o.RateOption = None,
    timeout: o.TimeoutOption = 60.0,
    api_key: o.ApiKeyOption = None,
    base_url: o.BaseUrlOption = None,
    ftp_url: o.FtpUrlOption = None,
    dry_run: o.DryRunOption = False,
    refresh: o.RefreshOption = False,
    offline: o.OfflineOption = False,
    verify: o.VerifyOption = False,
    prune: o.PruneOption = False,
    save_lock: o.SaveLockOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring genomes into the local cache: from NCBI, from files, or those that ship."""
    from genomeformer_cli.core.workflows.fetch import FetchNcbiRequest, FetchRequest, fetch_genomes
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.progress import terminal_reporter
    from genomeformer_cli.render.tables import render_fetch

    ncbi = FetchNcbiRequest(
        taxa=tuple(taxon or ()),
        exclude_taxa=tuple(exclude_taxon or ()),
        accessions=tuple(accession or ()),
        accession_file=accession_file,
        lock=lock,
        formats=formats,
        source=source,
        level=level,
        reference=reference,
        mag=mag,
        type_material=type_material,
        released_after=released_after,
        released_before=released_before,
        min_length=min_length,
        max_contigs=max_contigs,
        min_completeness=min_completeness,
        max_contamination=max_contamination,
        exclude_atypical=exclude_atypical,
        top_per=top_per,
        limit=limit,
        jobs=jobs,
        retries=retries,
        rate=rate,
        timeout=timeout,
        api_key=api_key,
        base_url=base_url,
        ftp_url=ftp_url,
        dry_run=dry_run,
        refresh=refresh,
        offline=offline,
        verify=verify,
        prune=prune,
        save_lock=save_lock,
    )
    request = FetchRequest(sample=sample, files=tuple(file or ()), name=name, ncbi=ncbi)
    with terminal_reporter() as reporter:
        result = fetch_genomes(request, reporter=reporter)
    show(result, render_fetch(result), as_json=as_json)
    result.raise_for_failures()
