"""`genomeformer fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Context, Option

from genomeformer_cli.commands._options import (
    DRY_RUN_HELP,
    LIMIT_HELP,
    LOCK_HELP,
    NAME_HELP,
    TAXON_HELP,
    ConfigOption,
    JsonOption,
    SetOption,
    ShowConfigOption,
    given_settings,
    resolved_config,
)

EXAMPLE = "Example:  genomeformer fetch --taxon Mycoplasmoides --level complete --top-per species:1"
_NCBI, _CHOICE, _RUN = "Genomes at NCBI", "Choice of assemblies", "This run"
_PLACES = {"source": "filter.source", "level": "filter.level"}


def command(
    context: Context,
    *,
    sample: Annotated[
        bool,
        Option("--sample", help="Real genomes from the package: phiX174, lambda, M. genitalium."),
    ] = False,
    file: Annotated[
        list[Path] | None,
        Option(
            "--file",
            help="FASTA, FASTQ or GenBank file (annotation kept), plain or packed, `-` for stdin; "
            "repeatable. "
            "Every record is kept.",
        ),
    ] = None,
    name: Annotated[
        str | None, Option(help=f"{NAME_HELP} For a single `--file`.", show_default=False)
    ] = None,
    taxon: Annotated[
        list[str] | None, Option("--taxon", help=TAXON_HELP, rich_help_panel=_NCBI)
    ] = None,
    exclude_taxon: Annotated[
        list[str] | None,
        Option("--exclude-taxon", help="Taxon to exclude; repeatable.", rich_help_panel=_NCBI),
    ] = None,
    taxonomy: Annotated[
        str,
        Option(
            metavar="NAME|FILE",
            help="Taxonomy of `--taxon`: `ncbi`, `gtdb` with names such as `g__Bacillus`, or a "
            "metadata or taxonomy file of a GTDB release.",
            rich_help_panel=_NCBI,
        ),
    ] = "ncbi",
    accession: Annotated[
        list[str] | None,
        Option(
            "--accession",
            help="Assembly such as `GCF_000005845.2`, with or without version; repeatable.",
            rich_help_panel=_NCBI,
        ),
    ] = None,
    accession_file: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="List or table of assemblies; `-` reads standard input.",
            rich_help_panel=_NCBI,
        ),
    ] = None,
    lock: Annotated[Path | None, Option("--lock", help=LOCK_HELP, rich_help_panel=_NCBI)] = None,
    formats: Annotated[
        str,
        Option(
            "--format",
            help="`fasta`, and annotation in addition: `gff`, `gbff`, comma-separated.",
            rich_help_panel=_NCBI,
        ),
    ] = "fasta",
    source: Annotated[
        str,
        Option(
            help="`refseq`, `genbank`, or `both` (of a pair, the RefSeq assembly).",
            rich_help_panel=_CHOICE,
        ),
    ] = "refseq",
    level: Annotated[
        str,
        Option(
            help="`complete`, `chromosome`, `scaffold`, `contig`, comma-separated; default: all.",
            show_default=False,
            rich_help_panel=_CHOICE,
        ),
    ] = "",
    top_per: Annotated[
        str | None,
        Option(
            metavar="RANK:N",
            help="Keep the best N assemblies of each taxon of a rank, such as `species:1`.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    limit: Annotated[int | None, Option(min=1, help=LIMIT_HELP, rich_help_panel=_CHOICE)] = None,
    dry_run: Annotated[bool, Option("--dry-run", help=DRY_RUN_HELP, rich_help_panel=_RUN)] = False,
    refresh: Annotated[
        bool,
        Option(
            "--refresh",
            help="Query NCBI again, even if the listing is less than a day old.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    offline: Annotated[
        bool, Option("--offline", help="Use the cache only.", rich_help_panel=_RUN)
    ] = False,
    recheck: Annotated[
        bool,
        Option(
            "--recheck",
            help="Check cached files, and fetch damaged ones again.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    prune: Annotated[
        bool,
        Option(
            "--prune",
            help="Remove assemblies superseded or suppressed since the last fetch.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    save_lock: Annotated[
        Path | None,
        Option("--save-lock", help="Additional path of the lock file.", rich_help_panel=_RUN),
    ] = None,
    settings: SetOption = None,
    config: ConfigOption = None,
    show_config: ShowConfigOption = False,
    as_json: JsonOption = False,
) -> None:
    """Download or import genomes into the local cache."""
    from genomeformer_cli.core.workflows.fetch import FetchRequest, fetch_genomes
    from genomeformer_cli.core.workflows.fetch_request import FetchConfig, FetchNcbiRequest
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.progress import terminal_reporter
    from genomeformer_cli.render.tables import render_fetch

    resolved = resolved_config(context, FetchConfig(), given_settings(context, _PLACES))
    ncbi = FetchNcbiRequest(
        taxa=tuple(taxon or ()),
        exclude_taxa=tuple(exclude_taxon or ()),
        accessions=tuple(accession or ()),
        accession_file=accession_file,
        lock=lock,
        formats=formats,
        top_per=top_per,
        limit=limit,
        taxonomy=taxonomy,
        dry_run=dry_run,
        refresh=refresh,
        offline=offline,
        verify=recheck,
        prune=prune,
        save_lock=save_lock,
        **vars(resolved.filter),
        **vars(resolved.connection),
    )
    request = FetchRequest(sample=sample, files=tuple(file or ()), name=name, ncbi=ncbi)
    with terminal_reporter() as reporter:
        result = fetch_genomes(request, reporter=reporter)
    show(result, render_fetch(result), as_json=as_json)
    result.raise_for_failures()
