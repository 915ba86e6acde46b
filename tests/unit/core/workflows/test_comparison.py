"""A comparison: its trainings, its settings, who stands where; what is trained and what is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.configuration import merge_values
from genomeformer_cli.core.errors import ConfigError, CorruptError
from genomeformer_cli.core.processes import TaskFailure
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.training.budget import Budget, Plan
from genomeformer_cli.core.training.metrics import Pace, Score
from genomeformer_cli.core.training.summary import RunSummary
from genomeformer_cli.core.workflows import compare as compare_module
from genomeformer_cli.core.workflows.compare import CompareRequest, CompareResult, compare_models
from genomeformer_cli.core.workflows.compare_folder import (
    Variant,
    open_comparison,
    trainings,
)
from genomeformer_cli.core.workflows.compare_ranking import (
    TrainingResult,
    baselines,
    spread,
    standings,
)
from tests.models import CORPUS, SMALL
from tests.reporters import Listening

LINEAR, SOFTMAX = (
    Variant(name=name, overrides={"model": {"attention": {"name": name}}})
    for name in ("linear", "softmax")
)
Work = Callable[[Any, Reporter], None]


def summary(bits: float, counts: float = 1.9, twin: float = 2.1) -> RunSummary:
    return RunSummary(
        model=Score(bits_per_base=bits, accuracy=0.4, num_bases=50),
        counts=Score(bits_per_base=counts, accuracy=0.5, num_bases=50),
        counts_order=3,
        random_twin=Score(bits_per_base=twin, accuracy=0.2, num_bases=50),
        num_parameters=99,
        num_steps=7,
        num_bases_seen=70,
        num_train_bases=1000,
        split_rule="tail",
        training_seconds=1.0,
        environment={},
        corpus="c",
    )


def trained(variant: str, seed: int, bits: float | None, **more: Any) -> TrainingResult:
    ended = {} if bits is None else {"summary": summary(bits, **more)}
    return TrainingResult(
        run=f"c-{variant}-{seed}",
        corpus="c",
        variant=variant,
        seed=seed,
        problem="it broke" if bits is None else None,
        plan=Plan(steps=7, tokens=10, flops=1000),
        pace=None if bits is None else Pace(seconds=2, bases_per_second=40 + seed, peak_bytes=8),
        **ended,
    )


def test_trainings_are_named_and_all_of_the_first_seed_come_first() -> None:
    mixed = Variant(name="linear+local")
    found = trainings(("a", "b"), (SOFTMAX, mixed), range(3, 5))
    assert [one.run for one in found] == [
        *("a-softmax-3", "a-linear_local-3", "b-softmax-3", "b-linear_local-3"),
        *("a-softmax-4", "a-linear_local-4", "b-softmax-4", "b-linear_local-4"),
    ]
    with pytest.raises(ConfigError, match="one name: `a-softmax-0`"):
        trainings(("a",), (SOFTMAX, SOFTMAX), range(1))


def test_the_best_is_first_and_failures_are_last() -> None:
    rows = standings(
        [trained("a", 0, 1.95), trained("b", 0, None), trained("c", 0, 1.8), trained("a", 1, 1.85)]
    )
    assert [(row.variant, row.num_seeds) for row in rows] == [("c", 1), ("a", 2), ("b", 0)]
    best, mean, failed = rows
    assert best.bits_per_base == spread([1.8])
    assert best.bits_per_base.deviation is None
    assert best.gain is not None
    assert best.gain.mean == pytest.approx(0.1)
    assert mean.bits_per_base is not None
    assert mean.bits_per_base.mean == pytest.approx(1.9)
    assert mean.bits_per_base.deviation == pytest.approx(0.1 / 2**0.5)
    assert mean.bases_per_second == spread([40, 41])
    assert (mean.steps, mean.tokens, mean.flops) == (7, 70, 7000)
    assert (failed.bits_per_base, failed.problem) == (None, "it broke")


def test_tables_of_counts_are_listed_once_per_query_set_and_twins_together() -> None:
    same = [trained("a", 0, 1.8, twin=2.0), trained("b", 0, 1.9, twin=2.2), trained("d", 0, None)]
    counts, random = baselines(same)
    assert (counts.name, counts.bits_per_base) == ("counts of 3 neighbours per side", spread([1.9]))
    assert random.is_random
    assert random.bits_per_base == spread([2.0, 2.2])
    assert len(baselines([*same, trained("e", 0, 1.8, counts=1.7)])) == 3
    assert baselines([trained("a", 0, None)]) == ()


def test_other_settings_are_refused_and_the_difference_named(tmp_path: Path) -> None:
    settings = {"budget": {"tokens": 5}, "seeds": 1}
    open_comparison(tmp_path, settings)
    open_comparison(tmp_path, settings)
    with pytest.raises(ConfigError, match=r"budget\.tokens: 5 -> 6; seeds: 1 -> 2") as caught:
        open_comparison(tmp_path, {"budget": {"tokens": 6}, "seeds": 2})
    assert "--name" in str(caught.value.hint)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(CorruptError, match="damaged"):
        open_comparison(tmp_path, settings)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Trainings run in this process, and are listed; those of `linear` fail when asked to."""
    ran: list[str] = []

    def run(work: Work, task: Any, reporter: Reporter) -> TaskFailure | None:
        ran.append(task.training.run)
        if "fails" in ran and task.training.variant.name == "linear":
            return TaskFailure(message="no memory")
        work(task, reporter)
        return None

    monkeypatch.setattr(compare_module, "run_in_fresh_process", run)
    return ran


def compared(root: Path, reporter: Reporter, **changes: Any) -> CompareResult:
    wanted: dict[str, Any] = {
        "corpora": (CORPUS,),
        "name": "n",
        "budget": Budget(kind="tokens", amount=1600),
        "variants": (SOFTMAX, LINEAR),
        "overrides": {"model": SMALL["model"], "training": {"batch_size": 4}},
        "device": "cpu",
        "threads": 1,
    }
    return compare_models(
        CompareRequest(**(wanted | changes)), reporter=reporter, store=Store(root)
    )


def test_what_is_finished_is_read_and_what_failed_is_tried_again(
    trained_home: Path, here: list[str]
) -> None:
    here.append("fails")
    first = compared(trained_home, Listening())
    assert here[1:] == ["phage-softmax-0", "phage-linear-0"]
    assert [(row.variant, row.problem) for row in first.rows] == [
        ("softmax", None),
        ("linear", "no memory"),
    ]
    here.clear()
    reporter = Listening()
    second = compared(trained_home, reporter)
    assert here == ["phage-linear-0"]
    assert any("phage-softmax-0 is finished already" in note for note in reporter.notes)
    assert {row.problem for row in second.rows} == {None}
    assert second.trainings[0] == first.trainings[0]
    here.clear()
    assert compared(trained_home, Listening()).rows == second.rows
    assert here == []
    written = json.loads((second.folder / "results.json").read_text())
    assert [row["variant"] for row in written["rows"]] == [row.variant for row in second.rows]
    with pytest.raises(ConfigError, match=r"budget\.tokens: 1600 -> 1700"):
        compared(trained_home, Listening(), budget=Budget(kind="tokens", amount=1700))


def test_the_same_tokens_and_operations_are_the_same_numbers(
    trained_home: Path, here: list[str]
) -> None:
    (one,) = compared(trained_home, Listening(), name="one", variants=(LINEAR,)).trainings
    (two,) = compared(trained_home, Listening(), name="two", variants=(LINEAR,)).trainings
    assert one.summary is not None
    assert two.summary is not None
    assert one.summary.model == two.summary.model
    # 1600 tokens are 6 steps of 4 windows of 64.
    assert one.summary.num_steps == 6
    operations = Budget(kind="flops", amount=3e7)
    for name in ("three", "four"):
        more = compared(trained_home, Listening(), name=name, variants=(LINEAR,), budget=operations)
        (row,) = more.rows
        assert row.flops is not None
        assert row.steps is not None
        assert row.flops <= 3e7 < row.flops * (row.steps + 1) / row.steps


def test_minutes_buy_steps_once_for_all_seeds(trained_home: Path, here: list[str]) -> None:
    result = compared(
        trained_home,
        Listening(),
        variants=(SOFTMAX,),
        seeds=2,
        budget=Budget(kind="minutes", amount=0.002),
    )
    first, second = result.trainings
    assert first.plan == second.plan
    assert first.plan is not None
    assert first.plan.seconds is not None
    assert first.plan.steps == int(0.12 / first.plan.seconds + 1e-9)
    (row,) = result.rows
    assert row.num_seeds == 2
    assert row.bits_per_base is not None
    assert row.bits_per_base.deviation is not None


def test_the_collection_is_what_can_look_that_way(
    trained_home: Path, here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter = Listening()
    overrides = merge_values({"model": SMALL["model"]}, {"model": {"direction": "causal"}})
    monkeypatch.setattr(
        compare_module, "_train_once", lambda training, *_: trained(training.variant.name, 0, None)
    )
    result = compared(trained_home, reporter, variants=(), overrides=overrides)
    assert {"softmax", "gated-delta"} <= {row.variant for row in result.rows}
    assert "longformer" not in {row.variant for row in result.rows}
    assert "longformer" in reporter.notes[0]
