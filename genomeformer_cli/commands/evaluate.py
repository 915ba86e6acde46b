"""`genomeformer evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Context, Option

from genomeformer_cli.commands._completion import (
    complete_corpora,
    complete_genomes,
    complete_models,
)
from genomeformer_cli.commands._options import (
    ANNOTATION_HELP,
    CORPUS_HELP,
    GENOME_HELP,
    MODEL_HELP,
    ONLY_HELP,
    OUTPUT_HELP,
    SEED_HELP,
    SEEDS_HELP,
    WINDOW_HELP,
    ConfigOption,
    DeviceOption,
    JsonOption,
    MissingOption,
    PrecisionOption,
    SequenceColumnOption,
    SetOption,
    ShowConfigOption,
    WorkersOption,
    given_settings,
    resolved_config,
)
from genomeformer_cli.commands._outputs import named_output
from genomeformer_cli.core.errors import UsageError

if TYPE_CHECKING:
    from genomeformer_cli.core.workflows.evaluate import EvaluateRequest

EXAMPLE = "Example:  genomeformer evaluate demo --task promoters.tsv --suite tasks/ --only gue_tf"
_HELD_OUT, _LABELLED, _VARIANTS = "Held-out bases", "Labelled sequences", "Variants"

# Settings of each option that is one, by parameter name.
_PREDICTION_PLACES = {
    "window": "prediction.window",
    "seed": "prediction.seed",
    "seeds": "prediction.num_twins",
}
_LABELLED_PLACES = {
    "window": "labelled.window",
    "seed": "labelled.seed",
    "seeds": "labelled.num_seeds",
}
_CODON_PLACES = {"window": "codons.window", "seed": "codons.seed"}
_RECOVERY_PLACES = {"seed": "recovery.seed"}
_VARIANT_PLACES = {"window": "variants.window", "seed": "variants.seed"}
_PLACES = (
    _PREDICTION_PLACES,
    _LABELLED_PLACES,
    _CODON_PLACES,
    _RECOVERY_PLACES,
    _VARIANT_PLACES,
)


def command(
    context: Context,
    models: Annotated[
        list[str] | None,
        Argument(
            help=f"{MODEL_HELP} Several are ranked on labelled sequences. Default: `default`.",
            autocompletion=complete_models,
            metavar="MODEL...",
            show_default=False,
        ),
    ] = None,
    *,
    likelihood: Annotated[
        bool | None,
        Option(
            "--likelihood/--no-likelihood",
            help="Score held-out bases, beside tables of counts. Default: yes, unless "
            "`--variants`, `--codon-effects` or `--recovery` is given.",
            show_default=False,
            rich_help_panel=_HELD_OUT,
        ),
    ] = None,
    recovery: Annotated[
        bool,
        Option(
            "--recovery",
            help="Rewrite hidden stretches of held-out bases, beside a Markov chain.",
            rich_help_panel=_HELD_OUT,
        ),
    ] = False,
    corpus: Annotated[
        str | None,
        Option(
            help=CORPUS_HELP,
            autocompletion=complete_corpora,
            show_default=False,
            rich_help_panel=_HELD_OUT,
        ),
    ] = None,
    held_out: Annotated[
        list[Path] | None,
        Option(
            help="Sequences to score instead of the held-out part of the corpus: a file, or a "
            "genome of the cache; may be repeated.",
            show_default=False,
            rich_help_panel=_HELD_OUT,
        ),
    ] = None,
    annotation: Annotated[
        Path | None,
        Option("--gff", help=ANNOTATION_HELP, show_default=False, rich_help_panel=_HELD_OUT),
    ] = None,
    variants: Annotated[
        Path | None,
        Option(
            help="Labelled variants of `--genome`: TSV, CSV or parquet with chrom, pos, ref, alt "
            "and a label, or VCF with a label in INFO.",
            show_default=False,
            rich_help_panel=_VARIANTS,
        ),
    ] = None,
    genome: Annotated[
        str | None,
        Option(
            help=GENOME_HELP,
            autocompletion=complete_genomes,
            show_default=False,
            rich_help_panel=_VARIANTS,
        ),
    ] = None,
    codon_effects: Annotated[
        bool,
        Option(
            "--codon-effects",
            help="Rank stop-gained, missense and synonymous substitutions of the annotated coding "
            "sequences of `--genome`.",
            rich_help_panel=_VARIANTS,
        ),
    ] = False,
    task: Annotated[
        list[Path] | None,
        Option(
            help="TSV or CSV with `sequence` and a label, or FASTA with `label=X`; may be "
            "repeated.",
            show_default=False,
            rich_help_panel=_LABELLED,
        ),
    ] = None,
    suite: Annotated[
        list[Path] | None,
        Option(
            help="Folder of tasks: ours, or a published suite as downloaded; may be repeated.",
            show_default=False,
            rich_help_panel=_LABELLED,
        ),
    ] = None,
    only: Annotated[
        list[str] | None, Option(help=ONLY_HELP, show_default=False, rich_help_panel=_LABELLED)
    ] = None,
    label: Annotated[
        str,
        Option(
            help="Column of the labels in a table, or INFO key of a VCF file.",
            rich_help_panel=_LABELLED,
        ),
    ] = "label",
    sequence_column: SequenceColumnOption = None,
    missing: MissingOption = "refuse",
    window: Annotated[int | None, Option(min=1, help=WINDOW_HELP, show_default=False)] = None,
    seed: Annotated[int, Option(min=0, help=SEED_HELP)] = 0,
    seeds: Annotated[int, Option(min=1, help=SEEDS_HELP)] = 1,
    output: Annotated[
        Path | None,
        Option(
            "-o",
            "--output",
            callback=named_output,
            help=f"{OUTPUT_HELP} A folder of `eval_results.json` and `report.html`, default "
            "`NAME-evaluation`; of several models, of `leaderboard.json`, `.md` and `.html`, "
            "default `leaderboard`.",
            show_default=False,
        ),
    ] = None,
    settings: SetOption = None,
    config: ConfigOption = None,
    show_config: ShowConfigOption = False,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    precision: PrecisionOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compare models with tables of counts, k-mers and their twins of random weights."""
    from genomeformer_cli.core.configuration import merge_values
    from genomeformer_cli.core.evaluation.labels import missing_from_text
    from genomeformer_cli.core.model_io.bundled import DEFAULT_MODEL
    from genomeformer_cli.core.store.atomic import check_folder
    from genomeformer_cli.core.store.output_lock import lock_outputs
    from genomeformer_cli.core.workflows import leaderboard
    from genomeformer_cli.core.workflows.evaluate import (
        EvaluateConfig,
        EvaluateRequest,
        evaluate_model,
    )
    from genomeformer_cli.render import leaderboard as render
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.evaluation import render_evaluation, write_report
    from genomeformer_cli.render.progress import terminal_reporter

    options: dict[str, Any] = {}
    for places in _PLACES:
        options = merge_values(options, given_settings(context, places))
    resolved = resolved_config(context, EvaluateConfig(), options)
    questions = (corpus, held_out, annotation, variants, codon_effects, recovery, task, suite)
    if not models and not any(questions):
        raise UsageError("nothing to evaluate is given", hint=EXAMPLE.partition(":  ")[2])
    models = models or [DEFAULT_MODEL]
    request = EvaluateRequest(
        model=models[0],
        likelihood=likelihood,
        corpus=corpus,
        held_out=tuple(held_out or ()),
        annotation=annotation,
        genome=genome,
        variants=variants,
        recovery=recovery,
        codon_effects=codon_effects,
        tasks=tuple(task or ()),
        suites=tuple(suite or ()),
        only=tuple(only or ()),
        label=label,
        sequence=sequence_column,
        missing=missing_from_text(missing),
        config=resolved,
        device=device,
        workers=workers,
        precision=precision,
    )
    if len(models) > 1:
        _check_ranked(request)
        folder = output or Path("leaderboard")
        check_folder(folder)
        ranking = leaderboard.LeaderboardRequest(
            models=tuple(models), evaluation=request, output=folder
        )
        with terminal_reporter() as reporter, lock_outputs(folder, reporter=reporter):
            ranked = leaderboard.rank_models(ranking, reporter=reporter)
            reporter.note(f"report: {render.write_leaderboard(ranked, folder)}")
        show(ranked, render.render_leaderboard(ranked), as_json=as_json)
        return render.check_all_ranked(ranked)
    folder = output or Path(f"{Path(models[0]).name or 'model'}-evaluation")
    check_folder(folder)
    with terminal_reporter() as reporter, lock_outputs(folder, reporter=reporter):
        result = evaluate_model(request, reporter=reporter)
        reporter.note(f"report: {write_report(result, folder)}")
    return show(result, render_evaluation(result), as_json=as_json)


def _check_ranked(request: EvaluateRequest) -> None:
    """Refuse options that apply only to the evaluation of one model."""
    options = {
        "--corpus": request.corpus,
        "--held-out": request.held_out,
        "--gff": request.annotation,
        "--genome": request.genome,
        "--variants": request.variants,
        "--codon-effects": request.codon_effects,
        "--recovery": request.recovery,
    }
    for name, value in options.items():
        if value:
            raise UsageError(
                f"`{name}` applies to the evaluation of one model",
                hint="several models are ranked on labelled sequences: `--task` or `--suite`",
            )
