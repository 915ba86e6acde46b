"""`genomeformer finetune`."""

from __future__ import annotations

from genomeformer_cli.commands._options import (
    DeviceOption,
    JsonOption,
    MissingOption,
    ModelOption,
    SequenceColumnOption,
    ThreadsOption,
)
from genomeformer_cli.render import finetune_options as o

EXAMPLE = "Example:  genomeformer finetune promoters.tsv --target label --from-scratch"


def command(
    data: o.DataArgument,
    *,
    model: ModelOption = None,
    target: o.TargetOption = None,
    kind: o.KindOption = "auto",
    only: o.OnlyOption = None,
    group: o.GroupOption = None,
    sequence_column: SequenceColumnOption = None,
    missing: MissingOption = "refuse",
    validation: o.ValidationOption = 0.1,
    test: o.TestOption = 0.2,
    method: o.MethodOption = "full",
    rank: o.RankOption = 8,
    alpha: o.AlphaOption = 16.0,
    pool: o.PoolOption = "mean-max",
    linear: o.LinearOption = "none",
    kmer: o.KmerOption = 7,
    rc: o.RcOption = "none",
    window: o.WindowOption = 0,
    epochs: o.EpochsOption = 10.0,
    batch_size: o.BatchSizeOption = 32,
    learning_rate: o.LearningRateOption = o.DEFAULT_RATE,
    head_rate: o.HeadRateOption = 5.0,
    layer_decay: o.LayerDecayOption = 1.0,
    warmup: o.WarmupOption = 0.1,
    weight_decay: o.WeightDecayOption = 0.01,
    dropout: o.DropoutOption = 0.1,
    mutate: o.MutateOption = 0.0,
    shift: o.ShiftOption = 0,
    label_smoothing: o.SmoothingOption = 0.0,
    ema: o.EmaOption = 0.0,
    class_weights: o.ClassWeightsOption = "none",
    metric: o.MetricOption = "auto",
    patience: o.PatienceOption = 8,
    validate_every: o.ValidateEveryOption = 0,
    from_scratch: o.FromScratchOption = False,
    scratch_rate: o.ScratchRateOption = 0.0,
    seed: o.SeedOption = 0,
    seeds: o.SeedsOption = 1,
    name: o.NameOption = None,
    output: o.OutputOption = None,
    replace: o.ReplaceOption = False,
    precision: o.PrecisionOption = "auto",
    toks_per_batch: o.BatchTokensOption = 16_384,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Teach a model labels: classes, several labels, numbers, or a label for every base."""
    from genomeformer_cli.core.evaluation.labels import missing_from_text
    from genomeformer_cli.core.workflows.finetune import FinetuneRequest, finetune_model
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.finetuning import tuned_view
    from genomeformer_cli.render.progress import terminal_reporter

    plain = {
        "epochs": epochs,
        "validate_every": validate_every,
        "scratch_rate": scratch_rate,
        "split": {"validation": validation, "test": test, "seed": seed},
        "tuning": {
            "method": method,
            "rank": rank,
            "alpha": alpha,
            "pool": pool,
            "linear": linear,
            "kmer": kmer,
            "strands": "given" if rc == "none" else rc,
            "window": window,
            "head_rate": head_rate,
            "layer_decay": layer_decay,
            "dropout": dropout,
            "mutation": mutate,
            "shift": shift,
            "smoothing": label_smoothing,
            "class_weights": class_weights,
            "metric": "" if metric == "auto" else metric,
            "patience": patience,
            "tokens_per_batch": toks_per_batch,
        },
        "training": {
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "warmup_share": warmup,
            "decay_share": 1 - warmup,
            "weight_decay": weight_decay,
            "ema": ema,
            "seed": seed,
        },
        "compute": {"precision": precision},
    }
    request = FinetuneRequest(
        data=data,
        model=model,
        targets=o.columns_from_text(target),
        only=only,
        kind=o.kind_from_text(kind),
        group=group,
        sequence=sequence_column,
        missing=missing_from_text(missing),
        name=name,
        config=o.config_from_plain(plain),
        num_seeds=seeds,
        from_scratch=from_scratch,
        output=output,
        replace=replace,
        device=device,
        threads=threads,
    )
    with terminal_reporter() as reporter:
        result = finetune_model(request, reporter=reporter)
    show(result, tuned_view(result), as_json=as_json)
