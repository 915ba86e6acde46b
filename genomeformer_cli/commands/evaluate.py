"""`genomeformer evaluate`."""

from __future__ import annotations

from pathlib import Path

from genomeformer_cli.commands._options import (
    DeviceOption,
    JsonOption,
    MissingOption,
    ModelArgument,
    SequenceColumnOption,
    ThreadsOption,
)
from genomeformer_cli.render import evaluate_options as o

EXAMPLE = "Example:  genomeformer evaluate demo --task promoters.tsv --suite tasks/ --only gue_tf"


def command(
    model: ModelArgument,
    *,
    likelihood: o.LikelihoodOption = True,
    corpus: o.CorpusOption = None,
    held_out: o.HeldOutOption = None,
    annotation: o.AnnotationOption = None,
    by: o.ByOption = "genome",
    windows: o.WindowsOption = 200,
    passes: o.PassesOption = 4,
    mask_rate: o.MaskRateOption = 0.15,
    task: o.TaskOption = None,
    suite: o.SuiteOption = None,
    only: o.OnlyOption = None,
    label: o.LabelOption = "label",
    sequence_column: SequenceColumnOption = None,
    missing: MissingOption = "refuse",
    max_train: o.MaxTrainOption = 10_000,
    window: o.WindowOption = None,
    seed: o.SeedOption = 0,
    seeds: o.SeedsOption = 1,
    output: o.OutputOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is a model any good? Beside tables of counts, k-mers and its twin with random weights."""
    from genomeformer_cli.core.evaluation.held_out_scores import HeldOutConfig
    from genomeformer_cli.core.evaluation.held_out_sequences import parse_group_by
    from genomeformer_cli.core.evaluation.labels import missing_from_text
    from genomeformer_cli.core.evaluation.probing import ProbingConfig
    from genomeformer_cli.core.store.output_lock import lock_outputs
    from genomeformer_cli.core.workflows.evaluate import EvaluateRequest, evaluate_model
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.evaluation import render_evaluation, write_report
    from genomeformer_cli.render.progress import terminal_reporter

    request = EvaluateRequest(
        model=model,
        likelihood=likelihood,
        corpus=corpus,
        held_out=tuple(held_out or ()),
        annotation=annotation,
        by=parse_group_by(by),
        tasks=tuple(task or ()),
        suites=tuple(suite or ()),
        only=tuple(only or ()),
        label=label,
        sequence=sequence_column,
        missing=missing_from_text(missing),
        prediction=HeldOutConfig(
            window=window,
            windows=windows,
            passes=passes,
            rate=mask_rate,
            seed=seed,
            num_twins=seeds,
        ),
        labelled=ProbingConfig(window=window, most_training=max_train, seed=seed, num_seeds=seeds),
        device=device,
        threads=threads,
    )
    folder = output or Path(f"{Path(model).name or 'model'}-evaluation")
    with terminal_reporter() as reporter, lock_outputs(folder, reporter=reporter):
        result = evaluate_model(request, reporter=reporter)
        reporter.note(f"report: {write_report(result, folder)}")
    show(result, render_evaluation(result), as_json=as_json)
