"""`genomeformer tokenize`."""

from __future__ import annotations

from typer import Context

from genomeformer_cli.commands._options import JsonOption
from genomeformer_cli.core.corpus.splits import SplitBy, SplitConfig
from genomeformer_cli.render import tokenize_options as o

EXAMPLE = "Example:  genomeformer tokenize --all --holdout NC_001416.1 --name phage-held-out"


def command(
    context: Context,
    files: o.FilesArgument = None,
    *,
    name: o.NameOption = None,
    genome: o.GenomeOption = None,
    taxon: o.TaxonOption = None,
    lock: o.LockOption = None,
    all_genomes: o.AllOption = False,
    tokenizer: o.TokenizerOption = "char",
    k: o.KOption = None,
    stride: o.StrideOption = None,
    vocab_size: o.VocabSizeOption = None,
    split: o.SplitOption = SplitBy.AUTO,
    validation_fraction: o.FractionOption = 0.1,
    holdout: o.HoldoutOption = None,
    split_seed: o.SplitSeedOption = 0,
    inspect: o.InspectOption = None,
    vocabulary: o.VocabularyOption = None,
    limit: o.LimitOption = 500,
    stats: o.StatsOption = False,
    plot: o.PlotOption = None,
    jobs: o.JobsOption = 2,
    as_json: JsonOption = False,
) -> None:
    """Tokenize genomes once into a corpus to train on; or see how a sequence is cut."""
    from genomeformer_cli.core.workflows.tokenize import TokenizeRequest, tokenize_genomes
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.corpus import render_corpus
    from genomeformer_cli.render.progress import terminal_reporter

    given = o.check_together(context)
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
                tokenizer=tokenizer if "tokenizer" in given else None,
                settings=settings,
                vocabulary=vocabulary,
                corpus=name,
                limit=limit,
            )
        )
        show(inspected, TokensView(inspected), as_json=as_json)
        return
    assert name is not None, "`check_together` demands it"
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
        described = describe_corpus(request if o.makes(given) else name, reporter=reporter)
        reporter.note(f"picture: {plot_statistics(described, picture)}")
    show(described, render_statistics(described), as_json=as_json)
