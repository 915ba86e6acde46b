"""The live view as it stands on a terminal when the run is over."""

from __future__ import annotations

import io

from rich.console import Console

from genomeformer_cli.core.evaluation.counts import CountBaseline
from genomeformer_cli.core.training.metrics import Score, StepDone
from genomeformer_cli.core.workflows.pretrain import RunStarted
from genomeformer_cli.render.progress import TrainingView
from genomeformer_cli.render.tables import format_duration


def test_every_part_of_the_live_view_has_a_line_of_its_own() -> None:
    screen = io.StringIO()
    console = Console(
        file=screen, force_terminal=True, width=110, soft_wrap=True, color_system=None
    )
    view = TrainingView(console)
    counts = Score(bits_per_base=1.9, accuracy=0.35, num_bases=99)
    baseline = CountBaseline(order=2, score=counts)
    view.record(
        RunStarted(
            name="run",
            attention="softmax",
            num_parameters=10,
            context=64,
            num_train_bases=1000,
            baseline=baseline,
        )
    )
    score = Score(bits_per_base=1.8, accuracy=0.4, num_bases=99)
    view.record(
        StepDone(
            step=5,
            steps=5,
            training=score,
            validation=score,
            learning_rate=0.001,
            bases_per_second=1234.0,
            seconds_left=0.0,
        )
    )
    console.print("after")
    lines = [line.rstrip() for line in screen.getvalue().splitlines()]
    bar = next(number for number, line in enumerate(lines) if "━" in line)
    assert set(lines[bar].strip()) == {"━"}
    assert lines[bar + 1].startswith("step 5/5  1,234 bases/s")
    assert lines[bar + 1].endswith("0:00 left")
    assert any("counts of 2 neighbours" in line and "1.9000" in line for line in lines[:bar])
    assert "after" in lines[-1]


def test_durations_are_told_as_clocks_tell_them() -> None:
    assert [format_duration(seconds) for seconds in (0, 59.6, 61, 3723)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:02:03",
    ]
