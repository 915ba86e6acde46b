"""Tables of results."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from genomeformer_cli.core.genomes.genome import FetchedGenome, Genome
from genomeformer_cli.core.genomes.ncbi.plan import Plan
from genomeformer_cli.core.genomes.ncbi.query_dir import Failure
from genomeformer_cli.core.genomes.ncbi.update import Update
from genomeformer_cli.core.store.layout import Kind
from genomeformer_cli.core.training.metrics import Score
from genomeformer_cli.core.training.presets import PRESETS
from genomeformer_cli.core.training.summary import RunSummary
from genomeformer_cli.core.workflows.cache import VerifiedEntry
from genomeformer_cli.core.workflows.fetch import FetchResult
from genomeformer_cli.core.workflows.pretrain_presets import PresetForecast
from genomeformer_cli.core.workflows.run_status import WatchedRun
from genomeformer_cli.render.plots import LOSS_FILE
from genomeformer_cli.render.runs import (
    compare_with_counts,
    render_presets,
    render_runs,
    scores_table,
)
from genomeformer_cli.render.tables import format_size, render_fetch, render_verified_entries

SUMMARY = RunSummary(
    model=Score(bits_per_base=1.8765, accuracy=0.4321, num_bases=1000),
    counts=Score(bits_per_base=1.9, accuracy=0.375, num_bases=1000),
    counts_order=5,
    random_twin=Score(bits_per_base=2.1, accuracy=0.25, num_bases=1000),
    num_parameters=1,
    num_steps=1,
    num_bases_seen=1,
    num_train_bases=1,
    split_rule="tail",
    training_seconds=1.0,
    environment={},
    corpus="c",
)


def rendered(what: object, width: int = 120) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as captured:
        console.print(what)
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (5_000_000_000, "5.0 GB"),
        (7_000_000_000_000, "7.0 TB"),
    ],
)
def test_sizes_are_decimal(num_bytes: int, text: str) -> None:
    assert format_size(num_bytes) == text


def test_the_verdict_names_which_side_wins() -> None:
    assert (
        compare_with_counts(SUMMARY)
        == "the model beats the table of counts by 0.0235 bits per base"
    )
    beaten = replace(SUMMARY, counts=replace(SUMMARY.counts, bits_per_base=1.8))
    assert (
        compare_with_counts(beaten) == "the table of counts beats the model by 0.0765 bits per base"
    )


def test_the_model_is_shown_beside_both_baselines() -> None:
    _, model, counts, twin = rendered(scores_table(SUMMARY))
    assert model.split()[-2:] == ["1.8765", "43.2%"]
    assert counts.split()[-2:] == ["1.9000", "37.5%"]
    assert twin.split()[-2:] == ["2.1000", "25.0%"]


def test_every_preset_has_a_row() -> None:
    presets = {
        name: PresetForecast(
            config=build(),
            num_parameters=1_234_567_890,
            full_bytes=2 * 10**9,
            checkpoint_bytes=10**9,
            flops=1e15,
            seconds=10**6,
        )
        for name, build in PRESETS.items()
    }
    lines = rendered(render_presets(presets), width=80)
    assert [line.split()[0] for line in lines[1 : len(PRESETS) + 1]] == list(PRESETS)
    assert all("1.2G" in line and "12 days" in line for line in lines[1 : len(PRESETS) + 1])


def test_runs_are_shown_side_by_side() -> None:
    score = Score(bits_per_base=1.9, accuracy=0.4, num_bases=9)
    run = WatchedRun(name="one", folder=Path(), step=0, steps=100)
    further = replace(
        run,
        name="two",
        step=40,
        training_bits=1.95,
        validation=score,
        baseline=score,
        bases_per_second=1234.5,
        left_out=2,
    )
    lines = rendered(render_runs([run, further]), width=80)
    assert lines[1].split() == ["one", "0/100", "-", "-", "-", "-", "-"]
    assert lines[2].split() == ["two", "40/100", "1.9500", "1.9000", "40.0%", "1.9000", "1,234"]
    assert "two: 2 steps left out as spikes" in lines[-1]


def test_scores_of_longer_tokens_are_reported_per_token_too() -> None:
    score = Score(bits_per_base=1.5, accuracy=0.1, num_bases=60, num_tokens=10)
    summary = replace(SUMMARY, model=score, counts=score, random_twin=score, average=score)
    lines = rendered(scores_table(replace(summary, counts_looks="before")))
    assert lines[0].split()[-5:-1] == ["base", "bits", "per", "token"]
    assert all(line.split()[-2] == "9.0000" for line in lines[1:])
    assert lines[2].startswith("the average of its weights")
    assert lines[3].startswith("counts of 5 bases before")


def test_a_problem_is_reported_in_full() -> None:
    problem = "`/cache/[red]/model.safetensors` does not match its recorded checksum"
    entry = VerifiedEntry(kind=Kind.WEIGHTS, name="w", num_files=0, problem=problem)
    good = replace(entry, name="v", num_files=3, problem=None)
    _, bad_line, good_line = rendered(render_verified_entries((entry, good)))
    assert problem in bad_line
    assert good_line.split() == ["weights", "v", "3", "ok"]


def test_a_run_is_drawn_once_and_whole(trained: Path) -> None:
    from genomeformer_cli.core.training.summary import read_summary
    from genomeformer_cli.core.workflows.pretrain import PretrainResult
    from genomeformer_cli.render.plots import plot_loss

    folder = trained / "runs" / "run"
    result = PretrainResult(name="run", folder=folder, summary=read_summary(folder))
    path = plot_loss(result)
    first = path.read_bytes()
    assert path == folder / LOSS_FILE
    assert first.startswith(b"\x89PNG")
    assert plot_loss(result).read_bytes() == first


def fetched(number: int) -> FetchedGenome:
    genome = Genome(
        name=f"g{number}",
        fasta="x",
        sha256="",
        num_records=1,
        num_bases=1,
        source="",
        retrieved="",
    )
    return FetchedGenome(genome=genome, new=number % 2 == 0)


def view(**parts: Any) -> str:
    return "\n".join(rendered(render_fetch(FetchResult(**parts))))


def test_many_genomes_are_counted_not_listed() -> None:
    assert "100 genomes, 50 of them new" in view(genomes=tuple(map(fetched, range(100))))
    assert "g3" in view(genomes=tuple(map(fetched, range(4))))


def test_changes_and_failures_are_named() -> None:
    update = Update(
        new=("a",),
        superseded=(("b.1", "b.2"),),
        suppressed=tuple(f"c{n}" for n in range(12)),
        dropped=("d",),
        pruned=("b.1",),
    )
    failures = tuple(Failure(accession=f"f{n}", reason="gone") for n in range(45))
    shown = view(
        genomes=(fetched(0), fetched(1)),
        update=update,
        failures=failures,
        left_out={"--level": 3},
        num_bytes=5_000_000,
        lock=Path("genomes.lock.jsonl"),
    )
    for words in (
        "left out: 3 by --level",
        "downloaded: 5.0 MB",
        "new since the last fetch: a",
        "superseded: b.1 by b.2",
        "c9 and 2 more",
        "no longer chosen: d",
        "removed from the cache: b.1",
        "failed: f39: gone",
        "failed: 5 more",
        "lock file: genomes.lock.jsonl",
    ):
        assert words in shown


def test_a_plan_names_the_first_of_many() -> None:
    plan = Plan(
        num_assemblies=60,
        num_present=1,
        num_bases=10**9,
        num_bytes=310_000_000,
        disk_needed=310_500_000,
        disk_free=10**12,
        accessions=tuple(f"GCF_{n}" for n in range(60)),
    )
    shown = view(plan=plan, dry_run=True)
    assert "310.0 MB" in shown
    assert "and 20 more" in shown
