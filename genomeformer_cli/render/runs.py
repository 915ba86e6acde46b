"""Tables of presets, runs, fine-tuning and released bundles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from genomeformer_cli.render.console import to_json
from genomeformer_cli.render.tables import (
    format_long_duration,
    format_parameters,
    format_size,
    format_thousands,
    plain_table,
)

if TYPE_CHECKING:
    from genomeformer_cli.core.finetuning.summary import (
        BaselineResult,
        EnsembleResult,
        FinetuneSummary,
        LinearResult,
        SeedResult,
        StackedResult,
    )
    from genomeformer_cli.core.training.summary import RunSummary
    from genomeformer_cli.core.workflows.finetune import FinetuneResult
    from genomeformer_cli.core.workflows.pretrain import PretrainResult
    from genomeformer_cli.core.workflows.pretrain_dry_run import DryRun
    from genomeformer_cli.core.workflows.pretrain_presets import PresetForecast
    from genomeformer_cli.core.workflows.release import ReleaseResult
    from genomeformer_cli.core.workflows.release_publish import CheckedBundle, PublishResult
    from genomeformer_cli.core.workflows.run_status import WatchedRun

_NOT_KNOWN = "-"


def render_presets(presets: dict[str, PresetForecast]) -> RenderableType:
    """Return the presets with their sizes and their cost on this machine."""
    numbers = ("size", "context", "steps", "per step")
    costs = ("full", "checkpoint", "time here")
    table = plain_table("preset", *numbers, *costs, right=(*numbers, *costs))
    for column in (table.columns[0], table.columns[-1]):
        column.no_wrap = True
    for name, preset in presets.items():
        model, training = preset.config.model, preset.config.training
        tokens = training.tokens_per_step or training.batch_size * model.context
        sizes = (model.context, training.steps, tokens)
        table.add_row(
            name,
            format_parameters(preset.num_parameters),
            *(format_thousands(number) for number in sizes),
            format_size(preset.full_bytes).replace(" ", "\u00a0"),
            format_size(preset.checkpoint_bytes).replace(" ", "\u00a0"),
            format_long_duration(preset.seconds),
        )
    words = (
        "per step: tokens; full, checkpoint: memory under these plans, weights and "
        "optimizer included\ntime: of the whole run, at two thirds of this processor's present "
        "speed in matrix products\n`--dry-run` forecasts a run with your settings"
    )
    return Group(table, Text(words, style="dim"))


def render_forecast(result: DryRun) -> RenderableType:
    """Return the size of a run and the forecast memory and time of each memory plan."""
    text = (
        f"{result.num_parameters:,} parameters, `{result.attention}` attention, "
        f"{result.direction}\n"
        f"{result.steps:,} steps of {result.batch_size:,} x {result.context:,} = "
        f"{result.batch_size * result.context:,} tokens; {result.epochs:.2f} epochs\n"
    )
    numbers = ("peak memory", "time per step")
    table = plain_table("memory plan", *numbers, "", right=numbers)
    for forecast in result.forecasts:
        name = forecast.memory.plan
        if forecast.num_bytes is None or forecast.seconds is None:
            cells = (_NOT_KNOWN, _NOT_KNOWN, forecast.objection or "")
            table.add_row(name, *cells, style="dim")
            continue
        note = "this run's plan" if name == result.chosen else ""
        if note and result.rows < result.batch_size:
            note += f", {result.rows} of the windows at a time"
        if note and result.kept > 1:
            note += f", the last {result.kept} slices computed once"
        memory = format_size(forecast.num_bytes + result.base_bytes)
        table.add_row(name, memory, f"{forecast.seconds:.2f} s", note)
    return Group(Text(text), table)


def render_runs(runs: list[WatchedRun]) -> RenderableType:
    """Return the progress of several runs, one row each."""
    numbers = ("steps", "training", "held out", "accuracy", "counts", "bases/s")
    table = plain_table("run", *numbers, right=numbers)
    for run in runs:
        validation, baseline = run.validation, run.baseline
        table.add_row(
            run.name,
            f"{run.step:,}/{run.steps:,}",
            _four_digits(run.training_bits),
            _four_digits(validation.bits_per_base if validation else None),
            f"{validation.accuracy:.1%}" if validation else _NOT_KNOWN,
            _four_digits(baseline.bits_per_base if baseline else None),
            f"{run.bases_per_second:,.0f}" if run.bases_per_second else _NOT_KNOWN,
        )
    notes = [f"{run.name}: {run.left_out} steps left out as spikes" for run in runs if run.left_out]
    return Group(table, Text("\n".join(["bits per base", *notes]), style="dim"))


def _four_digits(value: float | None) -> str:
    return _NOT_KNOWN if value is None else f"{value:.4f}"


def scores_table(summary: RunSummary) -> Table:
    """Return the scores of the model, the table of counts and the twin with random weights."""
    per_token = summary.model.num_tokens is not None
    numbers = ("bits per base", *(["bits per token"] if per_token else []), "accuracy")
    table = plain_table(
        "held-out tokens" if per_token else "held-out bases", *numbers, right=numbers
    )
    rows = [("this model", summary.model)]
    if summary.average is not None:
        rows.append(("the average of its weights", summary.average))
    rows.append((summary.counts_name, summary.counts))
    rows.append(("same model, random weights", summary.random_twin))
    for name, score in rows:
        tokens = [f"{score.bits_per_token:.4f}"] if per_token else []
        table.add_row(name, f"{score.bits_per_base:.4f}", *tokens, f"{score.accuracy:.1%}")
    return table


def compare_with_counts(summary: RunSummary) -> str:
    """Return one sentence on the difference between the model and the table of counts."""
    gain = summary.counts.bits_per_base - summary.model.bits_per_base
    if gain > 0:
        return f"the model beats the table of counts by {gain:.4f} bits per base"
    return f"the table of counts beats the model by {-gain:.4f} bits per base"


def render_run(result: PretrainResult) -> RenderableType:
    """Return the scores and the folder of a finished run."""
    sentence = compare_with_counts(result.summary)
    return Group(scores_table(result.summary), Text(sentence), Text(f"run: {result.folder}"))


def render_finetune(result: FinetuneResult) -> RenderableType:
    """Return the test scores of every seed, and the seed that was kept."""
    from genomeformer_cli.core.finetuning.summary import PRETRAINED, SCRATCH

    summary = result.summary
    names = list(summary.results[0].test.measures)
    title = f"{summary.task}: {summary.num_rows['test']:,} test rows"
    columns = ("seed", *names, f"95 % of {summary.reported}")
    table = plain_table("weights", *columns, right=columns)
    table.title, table.title_justify = Text(title), "left"
    if summary.linear is not None:
        table.add_row("linear alone", "", *_test_scores(summary.linear, names))
    for baseline in summary.baselines:
        table.add_row(baseline.name, "", *_test_scores(baseline, names))
    for seed in summary.results:
        table.add_row(seed.origin, str(seed.seed), *_test_scores(seed, names))
    for stacked in summary.stacked:
        alone = [f"{stacked.network.measures.get(name, float('nan')):.4f}" for name in names]
        table.add_row("network alone", str(stacked.seed), *alone, "")
        table.add_row("with the network", str(stacked.seed), *_test_scores(stacked, names))
    if summary.ensemble is not None:
        number = f"all {summary.ensemble.num_members}"
        table.add_row("mean", number, *_test_scores(summary.ensemble, names))
    notes = [
        Text(note) for origin in (PRETRAINED, SCRATCH) for note in _seed_spread(summary, origin)
    ]
    strongest = summary.strongest_baseline
    if strongest is not None:
        notes.append(Text(f"strongest baseline by validation: {strongest.name}"))
    selection = f"kept: seed {summary.best_seed.seed}, by validation; {result.folder}"
    licence = f"licence: {summary.licence or 'not known'}, of {summary.base_model.address}"
    models = " ".join(f"--model {name}" for name in result.members or (result.name,))
    usage = f"genomeformer predict SEQUENCES {models}"
    return Group(table, *notes, Text(selection), Text(licence), Text(usage))


def _test_scores(
    result: SeedResult | StackedResult | LinearResult | BaselineResult | EnsembleResult,
    names: list[str],
) -> list[str]:
    measures = [f"{result.test.measures.get(name, float('nan')):.4f}" for name in names]
    interval = result.interval
    bounds = f"{interval.low:.4f} to {interval.high:.4f}" if interval.is_known else _NOT_KNOWN
    return [*measures, bounds]


def _seed_spread(summary: FinetuneSummary, origin: str) -> Iterator[str]:
    from genomeformer_cli.core.finetuning.summary import mean_and_deviation

    measured = [
        result.test.measures.get(summary.reported) for result in summary.from_origin(origin)
    ]
    values = [value for value in measured if value is not None]
    if len(values) > 1:
        mean, deviation = mean_and_deviation(values)
        name = summary.reported
        yield f"{origin}: {name} {mean:.4f} ± {deviation:.4f} over {len(values)} seeds"


def release_json(released: ReleaseResult | None, published: PublishResult | None) -> dict[str, Any]:
    """Return a release and its publication as one JSON object."""
    plain: dict[str, Any] = {} if released is None else to_json(released)
    if published is not None:
        plain |= {key: value for key, value in to_json(published).items() if value is not None}
    return plain


def render_release(
    released: ReleaseResult | None, published: PublishResult | None
) -> RenderableType:
    """Return a release and its publication as one table."""
    if released is None:
        assert published is not None
        table = plain_table("bundle", str(published.bundle))
        _add_publication(table, published)
        return table
    table = plain_table("released", released.name)
    _add_release(table, released)
    if published is not None:
        _add_publication(table, published)
    return Group(table, scores_table(released.summary))


def _add_release(table: Table, released: ReleaseResult) -> None:
    table.add_row("folder", str(released.folder))
    table.add_row("size", format_size(released.num_bytes))
    table.add_row("weights", f"{released.weights}, stored as {released.stored_as}")
    if released.cost is not None:
        table.add_row(
            "storing costs",
            f"{released.cost.loss:+.5f} bits per base on held-out bases, "
            f"{released.cost.mean_change:.5f} on average per query",
        )
    table.add_row(
        "verified",
        f"read back by a fresh process, largest difference of a vector "
        f"{released.verified.vectors:g}, of a logit {released.verified.logits:g}",
    )
    if released.stock_class is not None:
        table.add_row(
            "transformers",
            f"opened by `{released.stock_class}`, largest difference of a logit "
            f"{released.stock_difference:g}",
        )
    if released.signed_by is not None:
        table.add_row("signed by", released.signed_by)


def _add_publication(table: Table, published: PublishResult) -> None:
    if published.signed_by is not None:
        table.add_row("signed by", published.signed_by)
    if published.archive is not None:
        table.add_row("archive", str(published.archive))
        table.add_row("its SHA-256", str(published.archive_sha256))
    pushed = published.pushed
    if pushed is None:
        return
    visibility = "public" if pushed.public else "private"
    total = format_size(sum(pushed.files.values()))
    files = f"{len(pushed.files)} files, {total}, {visibility}"
    if pushed.address is None:
        table.add_row("would send", f"{files}, to {pushed.repository}")
        for name, num_bytes in pushed.files.items():
            table.add_row("", f"{name}  {format_size(num_bytes)}")
        return
    table.add_row("sent", files)
    table.add_row("address", pushed.address)


def render_checked_bundle(checked: CheckedBundle) -> RenderableType:
    """Return the results of checking a bundle."""
    table = plain_table("checked", checked.name)
    table.add_row("folder", str(checked.folder))
    table.add_row("files", f"{checked.num_files} checksums match, no extra file, the model loads")
    table.add_row("seal", checked.seal)
    if checked.signed_by is not None:
        table.add_row("signed by", checked.signed_by)
    elif checked.signed:
        table.add_row("signature", "present, not checked; name its public key with `--key`")
    else:
        table.add_row("signature", "none")
    return table
