"""`genomeformer tokenize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Context, Option

from genomeformer_cli.commands._completion import (
    complete_corpora,
    complete_genomes,
    complete_tokenizers,
    complete_vocabularies,
)
from genomeformer_cli.commands._options import (
    JOBS_HELP,
    LIMIT_HELP,
    NAME_HELP,
    PLOT_HELP,
    AllGenomesOption,
    GenomesOption,
    JsonOption,
    LockOption,
    TaxonOption,
    is_given,
)
from genomeformer_cli.core.corpus.split_units import SplitBy
from genomeformer_cli.core.errors import UsageError

EXAMPLE = "Example:  genomeformer tokenize --all --holdout NC_001416.1 --name phage-held-out"
_TOKENIZER, _HELD_OUT, _OTHER = "Tokenizer", "Held-out data", "Inspection and statistics"
# Parameters that go with each use of the command.
_GENOMES = {"files", "genome", "taxon", "lock", "all_genomes"}
_TOKENIZATION = {"tokenizer", "k", "stride", "vocab_size", "vocabulary"}
_INSPECTION = {"inspect", "limit", "name", "as_json", *_TOKENIZATION}
_DESCRIPTION = {"stats", "plot", "name", "as_json"}
_INSPECTION_ONLY = {"inspect", "limit", "vocabulary"}


def command(
    context: Context,
    files: Annotated[
        list[Path] | None,
        Argument(
            help="FASTA files, plain or .gz; they are imported into the cache first.",
            show_default=False,
        ),
    ] = None,
    *,
    name: Annotated[
        str | None,
        Option(
            help=f"{NAME_HELP} With `--stats`: the corpus to describe.",
            autocompletion=complete_corpora,
            show_default=False,
        ),
    ] = None,
    genome: GenomesOption = None,
    taxon: TaxonOption = None,
    lock: LockOption = None,
    all_genomes: AllGenomesOption = False,
    tokenizer: Annotated[
        str,
        Option(
            help="Kind of tokenizer: `char`, `kmer` or `bpe`.",
            autocompletion=complete_tokenizers,
            rich_help_panel=_TOKENIZER,
        ),
    ] = "char",
    k: Annotated[
        int | None, Option(help="Bases per k-mer, 1 to 8; default 6.", rich_help_panel=_TOKENIZER)
    ] = None,
    stride: Annotated[
        int | None,
        Option(
            help="Bases from one k-mer to the next, 1 (overlapping) to k (the default).",
            rich_help_panel=_TOKENIZER,
        ),
    ] = None,
    vocab_size: Annotated[
        int | None,
        Option(
            help="Byte pairs learned from a sample of the genomes; default 4096.",
            rich_help_panel=_TOKENIZER,
        ),
    ] = None,
    split: Annotated[
        SplitBy,
        Option(
            help="Held-out part: whole genomes, whole records, or the tail of every record; "
            "`auto`: genomes if there are ten or more, else tails.",
            rich_help_panel=_HELD_OUT,
        ),
    ] = SplitBy.AUTO,
    validation_fraction: Annotated[
        float, Option(help="Share of all bases that is held out.", rich_help_panel=_HELD_OUT)
    ] = 0.1,
    holdout: Annotated[
        list[str] | None,
        Option(
            help="Hold out this genome, record or `GENOME/RECORD` instead of a random draw; may be "
            "repeated.",
            rich_help_panel=_HELD_OUT,
            autocompletion=complete_genomes,
        ),
    ] = None,
    split_seed: Annotated[
        int, Option(help="Seed of the random draw.", rich_help_panel=_HELD_OUT)
    ] = 0,
    inspect: Annotated[
        str | None,
        Option(
            metavar="DNA|FASTA",
            help="Show the tokens of DNA, a FASTA file, or `-` for stdin, without a new corpus.",
            show_default=False,
            rich_help_panel=_OTHER,
        ),
    ] = None,
    vocabulary: Annotated[
        str | None,
        Option(
            metavar="NAME|FOLDER",
            autocompletion=complete_vocabularies,
            help="With `--inspect`: a vocabulary of the cache, or a folder with `tokenizer.json`; "
            "or give the `--name` of a corpus for its tokenizer.",
            show_default=False,
            rich_help_panel=_OTHER,
        ),
    ] = None,
    limit: Annotated[int, Option(min=1, help=LIMIT_HELP, rich_help_panel=_OTHER)] = 500,
    stats: Annotated[
        bool,
        Option(
            "--stats",
            help="Print and draw the composition of the corpus; without genomes, of an existing "
            "corpus.",
            rich_help_panel=_OTHER,
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help=f"{PLOT_HELP} With `--stats`: .png, .svg or .pdf; default: `NAME-stats.png`.",
            show_default=False,
            rich_help_panel=_OTHER,
        ),
    ] = None,
    jobs: Annotated[int, Option(min=1, help=JOBS_HELP, rich_help_panel="Compute")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Tokenize genomes once into a corpus for training, or show the tokens of a sequence."""
    from genomeformer_cli.core.corpus.splits import SplitConfig
    from genomeformer_cli.core.workflows.tokenize import TokenizeRequest, tokenize_genomes
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.corpus import render_corpus
    from genomeformer_cli.render.progress import terminal_reporter

    options = check_combination(context)
    sizes = {"k": k, "stride": stride, "vocab_size": vocab_size}
    settings = {key: value for key, value in sizes.items() if value is not None}
    if inspect is not None:
        from genomeformer_cli.core.workflows.tokenize_inspect import (
            InspectRequest,
            inspect_sequences,
        )
        from genomeformer_cli.render.tokens import TokensView

        inspected = inspect_sequences(
            InspectRequest(
                source=inspect,
                tokenizer=tokenizer if "tokenizer" in options else None,
                settings=settings,
                vocabulary=vocabulary,
                corpus=name,
                limit=limit,
            )
        )
        show(inspected, TokensView(inspected), as_json=as_json)
        return
    assert name is not None, "`check_combination` requires it"
    request = TokenizeRequest(
        name=name,
        genomes=tuple(genome or ()),
        files=tuple(files or ()),
        taxon=taxon,
        lock=lock,
        all_genomes=all_genomes,
        tokenizer=tokenizer,
        settings=settings,
        split=SplitConfig(
            by=split, fraction=validation_fraction, holdout=tuple(holdout or ()), seed=split_seed
        ),
        jobs=jobs,
    )
    with terminal_reporter() as reporter:
        if not stats:
            result = tokenize_genomes(request, reporter=reporter)
            show(result, render_corpus(result), as_json=as_json)
            return
        from genomeformer_cli.core.workflows.tokenize import describe_corpus
        from genomeformer_cli.render.corpus import picture_path, plot_statistics, render_statistics

        picture = picture_path(name, plot)
        described = describe_corpus(
            request if bool(options & _GENOMES) else name, reporter=reporter
        )
        reporter.note(f"picture: {plot_statistics(described, picture)}")
    show(described, render_statistics(described), as_json=as_json)


def check_combination(context: Context) -> set[str]:
    """Return the names of the parameters that were given, if they are compatible.

    Raises:
        UsageError: Some are incompatible, or the name of the corpus is missing.
    """
    options = {name for name in context.params if is_given(context, name)}
    if "inspect" in options:
        _check_none(context, options - _INSPECTION, "`--inspect`, which makes no corpus")
        return options
    describes = "stats" in options and not options & _GENOMES
    if "name" not in options:
        raise UsageError(
            "`--name` is needed: the corpus to describe"
            if describes
            else "`--name` is needed: the name of the new corpus",
            hint="genomeformer tokenize --stats --name demo"
            if describes
            else "genomeformer tokenize --all --name demo; or see the tokens of a sequence with "
            "`--inspect`",
        )
    if describes:
        _check_none(context, options - _DESCRIPTION, "`--stats` of an existing corpus")
    _check_none(context, options & _INSPECTION_ONLY, "a new corpus")
    if "plot" in options and "stats" not in options:
        raise UsageError("`--plot` draws `--stats`", hint="add `--stats`")
    return options


def _check_none(context: Context, extra: set[str], use: str) -> None:
    """Raise if parameters were given that do not go with a use of the command."""
    if extra:
        names = ", ".join(
            sorted(
                f"`{parameter.opts[0] if parameter.param_type_name == 'option' else 'FILES'}`"
                for parameter in context.command.params
                if parameter.name in extra
            )
        )
        raise UsageError(f"{names} cannot be combined with {use}", hint="leave one of them out")
