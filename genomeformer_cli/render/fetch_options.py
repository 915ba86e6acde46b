"""The options of `genomeformer fetch` that concern genomes at NCBI, in four panels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

_WHICH, _FILTER, _LINE, _RUN = "Genomes at NCBI", "Filters and choice", "Connection", "This run"

TaxonOption = Annotated[
    list[str] | None,
    Option(
        "--taxon",
        help="An NCBI taxon, name or taxid, with all its descendants; repeatable.",
        rich_help_panel=_WHICH,
    ),
]
ExcludeTaxonOption = Annotated[
    list[str] | None,
    Option("--exclude-taxon", help="A taxon to leave out; repeatable.", rich_help_panel=_WHICH),
]
AccessionOption = Annotated[
    list[str] | None,
    Option(
        "--accession",
        help="An assembly, as `GCF_000005845.2`, with or without version; repeatable.",
        rich_help_panel=_WHICH,
    ),
]
AccessionFileOption = Annotated[
    str | None,
    Option(
        metavar="FILE",
        help="List or table of assemblies; `-` reads standard input.",
        rich_help_panel=_WHICH,
    ),
]
LockOption = Annotated[
    Path | None,
    Option(
        "--lock", help="Bring exactly the bytes that a lock file names.", rich_help_panel=_WHICH
    ),
]
FormatOption = Annotated[
    str,
    Option(
        "--format",
        help="`fasta`, and annotation beside it: `gff`, `gbff`, comma-separated.",
        rich_help_panel=_WHICH,
    ),
]
SourceOption = Annotated[
    str,
    Option(
        help="`refseq`, `genbank`, or `both` (of a pair, the RefSeq one).", rich_help_panel=_FILTER
    ),
]
LevelOption = Annotated[
    str,
    Option(
        help="`complete`, `chromosome`, `scaffold`, `contig`, comma-separated; default: all.",
        show_default=False,
        rich_help_panel=_FILTER,
    ),
]
ReferenceOption = Annotated[
    bool, Option("--reference", help="Reference genomes alone.", rich_help_panel=_FILTER)
]
MagOption = Annotated[
    str,
    Option(help="From metagenomes: `include`, `exclude` or `only`.", rich_help_panel=_FILTER),
]
TypeMaterialOption = Annotated[
    bool, Option("--type-material", help="From type material alone.", rich_help_panel=_FILTER)
]
ReleasedAfterOption = Annotated[
    str | None,
    Option(metavar="DATE", help="On that day or later, YYYY-MM-DD.", rich_help_panel=_FILTER),
]
ReleasedBeforeOption = Annotated[
    str | None,
    Option(metavar="DATE", help="On that day or before, YYYY-MM-DD.", rich_help_panel=_FILTER),
]
MinLengthOption = Annotated[
    int | None, Option(min=0, help="Fewest bases.", rich_help_panel=_FILTER)
]
MaxContigsOption = Annotated[
    int | None, Option(min=1, help="Most contigs.", rich_help_panel=_FILTER)
]
MinCompletenessOption = Annotated[
    float | None,
    Option(min=0, max=100, help="Least CheckM completeness, percent.", rich_help_panel=_FILTER),
]
MaxContaminationOption = Annotated[
    float | None,
    Option(min=0, max=100, help="Most CheckM contamination, percent.", rich_help_panel=_FILTER),
]
ExcludeAtypicalOption = Annotated[
    bool,
    Option(
        "--exclude-atypical/--include-atypical",
        help="What NCBI marks as atypical: out, or in.",
        rich_help_panel=_FILTER,
    ),
]
TopPerOption = Annotated[
    str | None,
    Option(
        metavar="RANK:N",
        help="The best N of each taxon of a rank, as `species:1`.",
        rich_help_panel=_FILTER,
    ),
]
LimitOption = Annotated[
    int | None, Option(min=1, help="The best so many of all.", rich_help_panel=_FILTER)
]
JobsOption = Annotated[int, Option(min=1, max=16, help="Files at once.", rich_help_panel=_LINE)]
RetriesOption = Annotated[
    int,
    Option(
        min=0,
        help="Failures in a row, without progress, before a file is given up.",
        rich_help_panel=_LINE,
    ),
]
RateOption = Annotated[
    float | None,
    Option(
        help="Requests a second to each host; default: 3 to the API (8 with a key), 100 for files.",
        show_default=False,
        rich_help_panel=_LINE,
    ),
]
TimeoutOption = Annotated[
    float,
    Option(
        min=0.1,
        help="Seconds without a byte before a line is dropped and opened again.",
        rich_help_panel=_LINE,
    ),
]
ApiKeyOption = Annotated[
    str | None,
    Option(
        metavar="KEY",
        help="NCBI key; better given as `NCBI_API_KEY`. It is never logged, shown or kept.",
        show_default=False,
        rich_help_panel=_LINE,
    ),
]
BaseUrlOption = Annotated[
    str | None,
    Option(
        metavar="URL",
        help="Where NCBI Datasets is; else `GENOMEFORMER_BASE_URL`, else NCBI.",
        show_default=False,
        rich_help_panel=_LINE,
    ),
]
FtpUrlOption = Annotated[
    str | None,
    Option(
        metavar="URL",
        help="Where the genomes area is; else `GENOMEFORMER_FTP_URL`, else NCBI.",
        show_default=False,
        rich_help_panel=_LINE,
    ),
]
DryRunOption = Annotated[
    bool,
    Option(
        "--dry-run", help="Say what would be fetched, and the disk it needs.", rich_help_panel=_RUN
    ),
]
RefreshOption = Annotated[
    bool,
    Option(
        "--refresh",
        help="Ask NCBI what there is, even if it was asked within a day.",
        rich_help_panel=_RUN,
    ),
]
OfflineOption = Annotated[
    bool, Option("--offline", help="Use what is in the cache alone.", rich_help_panel=_RUN)
]
VerifyOption = Annotated[
    bool,
    Option(
        "--verify",
        help="Check what is in the cache already, and fetch again what is damaged.",
        rich_help_panel=_RUN,
    ),
]
PruneOption = Annotated[
    bool,
    Option(
        "--prune",
        help="Remove from the cache what was superseded or suppressed since the last run.",
        rich_help_panel=_RUN,
    ),
]
SaveLockOption = Annotated[
    Path | None,
    Option("--save-lock", help="Write the lock file here too.", rich_help_panel=_RUN),
]
