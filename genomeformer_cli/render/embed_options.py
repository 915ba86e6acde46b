"""The options of `genomeformer embed`, in five panels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, BadParameter, Option

_INPUT, _OUTPUT, _ROW, _WORK, _PICTURE = "Input", "Output", "What a row is", "Compute", "Picture"

SourcesArgument = Annotated[
    list[str] | None,
    Argument(
        help="FASTA or FASTQ files, plain or gzip, bzip2, xz, zstd; `-` reads standard input; or "
        "genomes of the cache.",
        metavar="FASTA...",
        show_default=False,
    ),
]
GenomeOption = Annotated[
    str | None,
    Option(
        help="A genome of the cache or a FASTA file, for `--bed` or `--vcf`.",
        rich_help_panel=_INPUT,
    ),
]
BedOption = Annotated[
    Path | None,
    Option(help="Embed the intervals of a BED file, or `-`.", rich_help_panel=_INPUT),
]
VcfOption = Annotated[
    Path | None,
    Option(
        help="Embed windows around the variants of a VCF file, or `-`: two rows per alternative "
        "allele, with the reference and with the alternative.",
        rich_help_panel=_INPUT,
    ),
]
FlankOption = Annotated[
    int, Option(help="Bases to either side of a variant.", rich_help_panel=_INPUT)
]
ShardOption = Annotated[
    str | None,
    Option(
        help="`i/n`: only every n-th record, beginning with the i-th.",
        metavar="I/N",
        rich_help_panel=_INPUT,
    ),
]
StrictOption = Annotated[
    bool,
    Option(
        "--strict",
        help="Fail, before any work, if a record would be a row of NaN or an id occurs twice.",
        rich_help_panel=_INPUT,
    ),
]
OutputOption = Annotated[
    Path | None,
    Option(
        "-o",
        "--output",
        help="Write `.npy`, `.npz`, `.h5`, `.h5ad`, `.parquet` or `.tsv`, by its name, and how it "
        "was made beside it; else `.npy` goes to standard output.",
        rich_help_panel=_OUTPUT,
    ),
]
IdsOption = Annotated[
    Path | None,
    Option(
        help="Write the ids here, one a line, in the order of the rows; in a `.tsv` with lengths "
        "and rows.",
        rich_help_panel=_OUTPUT,
    ),
]
DtypeOption = Annotated[
    Literal["float32", "float16", "float64"],
    Option(
        help="Output precision; R's readers of .npy take float64 alone.", rich_help_panel=_OUTPUT
    ),
]
ResumeOption = Annotated[
    bool,
    Option(
        "--resume",
        help="Go on where the same command broke off; leave a finished output as it is.",
        rich_help_panel=_OUTPUT,
    ),
]
PoolOption = Annotated[
    Literal["mean", "max", "first", "last", "cls", "none"],
    Option(
        help="Over the real bases of a record; `none` is a row a base. (No model here reads a "
        "[CLS] token, so `cls` is refused.)",
        rich_help_panel=_ROW,
    ),
]
IncludeOption = Annotated[
    Literal["pooled", "per-base"],
    Option(help="`per-base` is `--pool none` by another name.", rich_help_panel=_ROW),
]
LayersOption = Annotated[
    str,
    Option(
        help="`last`, `mean`, `all`, or numbers such as `0,2,4` side by side, 0 the token "
        "embedding; `auto`: those that the model was released with as the best, else the last.",
        rich_help_panel=_ROW,
    ),
]
RcOption = Annotated[
    Literal["none", "mean", "concat"],
    Option(help="What the reverse complement adds.", rich_help_panel=_ROW),
]
WindowOption = Annotated[
    str | None,
    Option(
        help="Longest stretch, in tokens, that the model sees at once; longer sequences are cut. "
        "`whole`: never cut, the state of a linear-memory model is passed along. "
        "Default: the training context.",
        metavar="TOKENS|whole",
        rich_help_panel=_ROW,
    ),
]
StrideOption = Annotated[
    int | None,
    Option(
        help="From one window to the next; what two windows share goes by halves to each. "
        "Default: windows that do not overlap.",
        rich_help_panel=_ROW,
    ),
]
BatchOption = Annotated[
    str,
    Option(
        "--toks-per-batch",
        help="Tokens of a batch, padding included: speed and memory, never results.",
        metavar="TOKENS|auto",
        rich_help_panel=_WORK,
    ),
]
JobsOption = Annotated[
    int,
    Option(
        min=1, help="Processes on the CPU, each with a model of its own.", rich_help_panel=_WORK
    ),
]
GpusOption = Annotated[
    int | None,
    Option(
        min=0,
        help="GPUs of this machine, a process each, with a model of its own; 0: the CPU.",
        rich_help_panel=_WORK,
    ),
]
PlotOption = Annotated[
    Path | None,
    Option(
        help="Draw the rows on a plane: `.png`, `.svg`, `.pdf`, or `.html` "
        "with ids under the pointer.",
        rich_help_panel=_PICTURE,
    ),
]
PlotMethodOption = Annotated[
    Literal["pca", "umap"],
    Option(help="Principal components; or UMAP, by the extra `umap`.", rich_help_panel=_PICTURE),
]
ColorByOption = Annotated[
    str | None,
    Option(
        help="Colour by a column of a table with a line of names and ids in its first column; "
        "without a name, by the second.",
        metavar="TSV[:COLUMN]",
        rich_help_panel=_PICTURE,
    ),
]


def window_from_text(text: str | None) -> int | Literal["whole"] | None:
    """A number of tokens, or `whole`."""
    if text is None or text == "whole":
        return "whole" if text else None
    return _number(text, "--window", "whole")


def batch_from_text(text: str) -> int | None:
    """A number of tokens; None for `auto`."""
    return None if text == "auto" else _number(text, "--toks-per-batch", "auto")


def shard_from_text(text: str | None) -> tuple[int, int] | None:
    """`i/n` as two numbers."""
    if text is None:
        return None
    first, slash, step = text.partition("/")
    if not (slash and first.isdecimal() and step.isdecimal()):
        raise BadParameter(f"`{text}` is no shard such as `1/4`", param_hint="--shard")
    return int(first), int(step)


def _number(text: str, option: str, word: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadParameter(
            f"`{text}` is neither a number nor `{word}`", param_hint=option
        ) from None
