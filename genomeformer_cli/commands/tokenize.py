"""`genomeformer tokenize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.ui.options import JsonOption

EXAMPLE = "Example:  genomeformer tokenize --all --holdout NC_001416.1 --name phage-held-out"


def command(
    files: Annotated[
        list[Path] | None,
        Argument(
            help="FASTA files, plain or .gz; they are imported into the cache first.",
            show_default=False,
        ),
    ] = None,
    *,
    name: Annotated[str, Option(help="Name of the corpus.", show_default=False)],
    genome: Annotated[list[str] | None, Option(help="A genome in the cache; repeatable.")] = None,
    taxon: Annotated[
        str | None,
        Option(help="Cached genomes of a taxon: a taxid, or the first words of its name."),
    ] = None,
    lock: Annotated[
        Path | None, Option(help="Cached genomes that a lock file of `fetch` names.")
    ] = None,
    all_genomes: Annotated[bool, Option("--all", help="Every genome in the cache.")] = False,
    tokenizer: Annotated[
        str, Option(help="Kind of tokenizer: `char`, `kmer` or `bpe`.", rich_help_panel="Tokenizer")
    ] = "char",
    k: Annotated[
        int | None, Option(help="Bases in a k-mer, 1 to 8; default 6.", rich_help_panel="Tokenizer")
    ] = None,
    stride: Annotated[
        int | None,
        Option(
            help="Bases from one k-mer to the next, 1 (overlapping) to k (the default).",
            rich_help_panel="Tokenizer",
        ),
    ] = None,
    vocab_size: Annotated[
        int | None,
        Option(
            help="Byte pairs to learn from a sample of the genomes; default 4096.",
            rich_help_panel="Tokenizer",
        ),
    ] = None,
    split: Annotated[
        SplitBy,
        Option(
            help="What is held out: whole genomes, whole records, or the tail of every record; "
            "`auto` takes genomes if there are ten or more, else tails.",
            rich_help_panel="Held-out data",
        ),
    ] = SplitBy.AUTO,
    validation_fraction: Annotated[
        float, Option(help="Part of all bases to hold out.", rich_help_panel="Held-out data")
    ] = 0.1,
    holdout: Annotated[
        list[str] | None,
        Option(
            help="Hold out this genome, record or `GENOME/RECORD` instead of drawing; repeatable.",
            rich_help_panel="Held-out data",
        ),
    ] = None,
    split_seed: Annotated[
        int, Option(help="Seed of the draw.", rich_help_panel="Held-out data")
    ] = 0,
    jobs: Annotated[
        int, Option(min=1, help="Genomes worked on at a time.", rich_help_panel="Compute")
    ] = 2,
    as_json: JsonOption = False,
) -> None:
    """Tokenize genomes once into a corpus to train on."""
    from genomeformer_cli.core.workflows.tokenize import TokenizeRequest, tokenize_genomes
    from genomeformer_cli.ui.console import show
    from genomeformer_cli.ui.progress import terminal_reporter
    from genomeformer_cli.ui.results import corpus_table

    settings = {"k": k, "stride": stride, "vocab_size": vocab_size}
    request = TokenizeRequest(
        name=name,
        genomes=tuple(genome or ()),
        files=tuple(files or ()),
        taxon=taxon,
        lock=lock,
        all_genomes=all_genomes,
        tokenizer=tokenizer,
        settings={key: value for key, value in settings.items() if value is not None},
        split=SplitConfig(
            by=split, fraction=validation_fraction, holdout=tuple(holdout or ()), seed=split_seed
        ),
        jobs=jobs,
    )
    with terminal_reporter() as reporter:
        result = tokenize_genomes(request, reporter=reporter)
    show(result, corpus_table(result), as_json=as_json)
