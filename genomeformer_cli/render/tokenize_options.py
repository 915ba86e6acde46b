"""The options of `genomeformer tokenize`, and which of them go together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Context, Option

from genomeformer_cli.core.corpus.splits import SplitBy
from genomeformer_cli.core.errors import UsageError

_TOKENIZER, _HELD_OUT, _LOOK = "Tokenizer", "Held-out data", "Look instead"
_GENOMES = {"files", "genome", "taxon", "lock", "all_genomes"}
_CUTTING = {"tokenizer", "k", "stride", "vocab_size", "vocabulary"}
_INSPECTING = {"inspect", "limit", "name", "as_json", *_CUTTING}
_DESCRIBING = {"stats", "plot", "name", "as_json"}
_NOT_BUILDING = {"inspect", "limit", "vocabulary"}

FilesArgument = Annotated[
    list[Path] | None,
    Argument(
        help="FASTA files, plain or .gz; they are imported into the cache first.",
        show_default=False,
    ),
]
NameOption = Annotated[str | None, Option(help="Name of the corpus.", show_default=False)]
GenomeOption = Annotated[list[str] | None, Option(help="A genome in the cache; repeatable.")]
TaxonOption = Annotated[
    str | None,
    Option(help="Cached genomes of a taxon of any rank: its name or taxid."),
]
LockOption = Annotated[
    Path | None, Option(help="Cached genomes that a lock file of `fetch` names.")
]
AllOption = Annotated[bool, Option("--all", help="Every genome in the cache.")]
TokenizerOption = Annotated[
    str, Option(help="Kind of tokenizer: `char`, `kmer` or `bpe`.", rich_help_panel=_TOKENIZER)
]
KOption = Annotated[
    int | None, Option(help="Bases in a k-mer, 1 to 8; default 6.", rich_help_panel=_TOKENIZER)
]
StrideOption = Annotated[
    int | None,
    Option(
        help="Bases from one k-mer to the next, 1 (overlapping) to k (the default).",
        rich_help_panel=_TOKENIZER,
    ),
]
VocabSizeOption = Annotated[
    int | None,
    Option(
        help="Byte pairs to learn from a sample of the genomes; default 4096.",
        rich_help_panel=_TOKENIZER,
    ),
]
SplitOption = Annotated[
    SplitBy,
    Option(
        help="What is held out: whole genomes, whole records, or the tail of every record; "
        "`auto` takes genomes if there are ten or more, else tails.",
        rich_help_panel=_HELD_OUT,
    ),
]
FractionOption = Annotated[
    float, Option(help="Part of all bases to hold out.", rich_help_panel=_HELD_OUT)
]
HoldoutOption = Annotated[
    list[str] | None,
    Option(
        help="Hold out this genome, record or `GENOME/RECORD` instead of drawing; repeatable.",
        rich_help_panel=_HELD_OUT,
    ),
]
SplitSeedOption = Annotated[int, Option(help="Seed of the draw.", rich_help_panel=_HELD_OUT)]
JobsOption = Annotated[
    int, Option(min=1, help="Genomes worked on at a time.", rich_help_panel="Compute")
]
InspectOption = Annotated[
    str | None,
    Option(
        metavar="DNA|FASTA",
        help="Show how this is cut, and make no corpus: DNA, a FASTA file, or `-` for stdin.",
        show_default=False,
        rich_help_panel=_LOOK,
    ),
]
VocabularyOption = Annotated[
    str | None,
    Option(
        metavar="NAME|FOLDER",
        help="With `--inspect`: a vocabulary of the cache, or a folder with `tokenizer.json`; "
        "or `--name` a corpus, to cut as it was cut.",
        show_default=False,
        rich_help_panel=_LOOK,
    ),
]
LimitOption = Annotated[
    int, Option(min=1, help="With `--inspect`: bases to show.", rich_help_panel=_LOOK)
]
StatsOption = Annotated[
    bool,
    Option(
        "--stats",
        help="Count what the corpus is made of and draw it; without genomes, of one that exists.",
        rich_help_panel=_LOOK,
    ),
]
PlotOption = Annotated[
    Path | None,
    Option(
        metavar="FILE",
        help="With `--stats`: the picture, as .png, .svg or .pdf; default: `NAME-stats.png` here.",
        show_default=False,
        rich_help_panel=_LOOK,
    ),
]


def check_together(context: Context) -> set[str]:
    """Names of the parameters given on the command line, if they go together.

    Raises:
        UsageError: Some do not, or the name of the corpus is missing.
    """
    given = {name for name in context.params if _is_given(context, name)}
    if "inspect" in given:
        _refuse(context, given - _INSPECTING, "`--inspect`, which makes no corpus")
        return given
    describes = "stats" in given and not makes(given)
    if "name" not in given:
        raise UsageError(
            "`--name` is needed: the corpus to describe"
            if describes
            else "`--name` is needed: what the corpus will be called",
            hint="genomeformer tokenize --stats --name demo"
            if describes
            else "genomeformer tokenize --all --name demo; or see how a sequence is cut with "
            "`--inspect`",
        )
    if describes:
        _refuse(context, given - _DESCRIBING, "`--stats` of a corpus that exists")
    _refuse(context, given & _NOT_BUILDING, "making a corpus")
    if "plot" in given and "stats" not in given:
        raise UsageError("`--plot` is the picture of `--stats`", hint="add `--stats`")
    return given


def makes(given: set[str]) -> bool:
    """Whether genomes were given to make a corpus of."""
    return bool(given & _GENOMES)


def _is_given(context: Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _refuse(context: Context, extra: set[str], beside: str) -> None:
    spelled = {
        str(one.name): one.opts[0] if one.param_type_name == "option" else "FILES"
        for one in context.command.params
    }
    if extra:
        names = ", ".join(f"`{name}`" for name in sorted(spelled[one] for one in extra))
        raise UsageError(f"{names} cannot stand beside {beside}", hint="leave one of them out")
