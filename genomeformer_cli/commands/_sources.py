"""Options that say which sequences a command reads, declared once for all commands.

A command takes `sources: SourcesArgument` and the options below under their names, and calls
`given_sources(context, ...)`; `core/annotation/sources.py` documents the choice.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Context, Option

from genomeformer_cli.commands._completion import complete_genomes, complete_sources
from genomeformer_cli.commands._options import GENOME_HELP, GFF_HELP, VCF_HELP

if TYPE_CHECKING:
    from genomeformer_cli.core.annotation.sources import SequenceSources

_INPUT = "Input"

SourcesArgument = Annotated[
    list[str] | None,
    Argument(
        help="FASTA, FASTQ, GenBank, or tables with a column `sequence` (TSV, CSV, parquet), plain "
        "or gzip, bzip2, xz, zstd; `-` reads standard input; or genomes of the cache.",
        metavar="SOURCE...",
        autocompletion=complete_sources,
        show_default=False,
    ),
]
GenomeOption = Annotated[
    str | None, Option(help=GENOME_HELP, autocompletion=complete_genomes, rich_help_panel=_INPUT)
]
BedOption = Annotated[
    Path | None,
    Option(help="Intervals of a BED file, or `-`, instead of sequences.", rich_help_panel=_INPUT),
]
GffOption = Annotated[
    Path | None,
    Option(
        help=f"{GFF_HELP} Of the features of `--genome`; default: that of the genome in the cache "
        "or in its GenBank file.",
        show_default=False,
        rich_help_panel=_INPUT,
    ),
]
FeatureOption = Annotated[
    list[str] | None,
    Option(
        help="Features of this type instead of sequences: `gene`, `CDS` (spliced), any other type "
        "of the annotation, `promoter` or `terminator`; may be repeated.",
        metavar="TYPE",
        show_default=False,
        rich_help_panel=_INPUT,
    ),
]
UpstreamOption = Annotated[
    int | None,
    Option(
        min=0,
        help="Bases before each feature, on its strand. Default: 0; `promoter` 150, `terminator` "
        "50.",
        show_default=False,
        rich_help_panel=_INPUT,
    ),
]
DownstreamOption = Annotated[
    int | None,
    Option(
        min=0,
        help="Bases after each feature, on its strand. Default: 0; `promoter` 50, `terminator` "
        "150.",
        show_default=False,
        rich_help_panel=_INPUT,
    ),
]
VcfOption = Annotated[Path | None, Option(help=VCF_HELP, rich_help_panel=_INPUT)]
TileOption = Annotated[
    int | None,
    Option(
        min=1,
        help="Windows of this many bases along every record instead of whole records; the last one "
        "ends at the end of the record.",
        metavar="WIDTH",
        show_default=False,
        rich_help_panel=_INPUT,
    ),
]
StepOption = Annotated[
    int | None,
    Option(
        min=1,
        help="Bases from one tile to the next. Default: the width.",
        show_default=False,
        rich_help_panel=_INPUT,
    ),
]


def given_sources(
    context: Context, *, draws_genes: bool = False, **settings: Any
) -> SequenceSources:
    """Return the sequences that the options of a command choose.

    Args:
        context: Context of the command; an option that it does not declare counts as not given.
        draws_genes: `--gff` without `--feature` names the genes of a picture, not the sequences.
        settings: Other fields of `SequenceSources`, such as `flank`, `rules` and `shard`.

    Raises:
        UsageError: The options contradict each other.
    """
    from genomeformer_cli.core.annotation.sources import SequenceSources

    values = context.params
    features = [name.strip() for text in values.get("feature") or () for name in text.split(",")]
    is_of_picture = draws_genes and not features
    return SequenceSources(
        files=tuple(values.get("sources") or ()),
        genome=values.get("genome"),
        bed=values.get("bed"),
        gff=None if is_of_picture else values.get("gff"),
        features=tuple(features),
        upstream=values.get("upstream"),
        downstream=values.get("downstream"),
        vcf=values.get("vcf"),
        tile=values.get("tile"),
        step=values.get("step"),
        **settings,
    )
