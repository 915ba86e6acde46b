"""The options of `genomeformer windows`, in three panels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from genomeformer_cli.core.annotation.config import WrittenStrand

_SOURCE, _CUT, _CHOICE = "Genomes", "Windows", "Choice and output"

GenomeOption = Annotated[
    list[str] | None, Option(help="A genome in the cache; repeatable.", rich_help_panel=_SOURCE)
]
TaxonOption = Annotated[
    str | None,
    Option(
        help="Cached genomes of a taxon: a taxid, or the first words of its name.",
        rich_help_panel=_SOURCE,
    ),
]
LockOption = Annotated[
    Path | None,
    Option(help="Cached genomes that a lock file of `fetch` names.", rich_help_panel=_SOURCE),
]
AllOption = Annotated[
    bool, Option("--all", help="Every genome in the cache.", rich_help_panel=_SOURCE)
]
AnnotationOption = Annotated[
    Path | None,
    Option(
        help="GFF3 or GenBank of your own, of any packing, for `--fasta` or for one `--genome`; "
        "with sequences in it, it needs neither.",
        rich_help_panel=_SOURCE,
    ),
]
FastaOption = Annotated[
    Path | None,
    Option(
        help="FASTA of your own; overrides sequences in the annotation.", rich_help_panel=_SOURCE
    ),
]
ClassesOption = Annotated[
    str,
    Option(
        help="Comma-separated: `coding`, `intergenic`, `promoter`, `terminator`, `rrna`, `trna`.",
        rich_help_panel=_CUT,
    ),
]
LengthOption = Annotated[
    int, Option(help="Bases of a window, but for the next two.", rich_help_panel=_CUT)
]
PromoterOption = Annotated[
    str, Option(help="Bases before a gene's start, and from it on.", rich_help_panel=_CUT)
]
TerminatorOption = Annotated[
    str, Option(help="Bases up to a gene's end, and past it.", rich_help_panel=_CUT)
]
MarginOption = Annotated[
    int, Option(help="Bases between an intergenic window and any feature.", rich_help_panel=_CUT)
]
MaxNOption = Annotated[
    float, Option(help="Largest part of a window that may be N.", rich_help_panel=_CUT)
]
StrandOption = Annotated[
    WrittenStrand,
    Option(
        help="Write the strand of the gene, or always that of the FASTA file.",
        rich_help_panel=_CUT,
    ),
]
OutputOption = Annotated[
    Path,
    Option(
        "-o",
        "--output",
        help="Write PREFIX.fa and PREFIX.tsv; into a folder, `windows.fa` and `windows.tsv`.",
        metavar="PREFIX",
        show_default=False,
        rich_help_panel=_CHOICE,
    ),
]
PerClassOption = Annotated[
    int | None,
    Option(
        help="Windows of each class, of all genomes together; default: all there are.",
        rich_help_panel=_CHOICE,
    ),
]
SeedOption = Annotated[int, Option(help="Seed of every choice.", rich_help_panel=_CHOICE)]
ForceOption = Annotated[
    bool, Option("--force", help="Replace files that are there.", rich_help_panel=_CHOICE)
]
