"""Progress on terminals and in logs."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from genomeformer_cli.core.evaluation.counts import CountBaseline
from genomeformer_cli.core.genomes.events import GenomeFetched
from genomeformer_cli.core.reporting import Event
from genomeformer_cli.core.training.metrics import Score, StepDone
from genomeformer_cli.core.workflows.pretrain import RunStarted
from genomeformer_cli.render.progress import TerminalReporter, TrainingView, terminal_reporter
from genomeformer_cli.render.tables import format_duration
from genomeformer_cli.render.verbosity import Verbosity

STARTED = RunStarted(
    name="run",
    attention="performer",
    num_parameters=12345,
    context=64,
    num_train_bases=4847,
    baseline=CountBaseline(
        order=3, score=Score(bits_per_base=1.95, accuracy=0.375, num_bases=1000)
    ),
)


def step(number: int, validation: Score | None) -> StepDone:
    return StepDone(
        step=number,
        steps=10,
        training=Score(bits_per_base=1.99, accuracy=0.3, num_bases=50),
        validation=validation,
        learning_rate=0.001,
        bases_per_second=5000.0,
        seconds_left=65.0,
    )


def spoken(*, terminal: bool, width: int = 120) -> tuple[TerminalReporter, io.StringIO]:
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=terminal, width=width, highlight=False, no_color=True
    )
    return TerminalReporter(console), stream


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (65, "1:05"), (59.6, "1:00"), (3723, "1:02:03")]
)
def test_durations_are_read_as_a_clock(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_off_a_terminal_there_is_one_line_per_validation() -> None:
    reporter, stream = spoken(terminal=False)
    score = Score(bits_per_base=1.9, accuracy=0.4, num_bases=1000)
    reporter.record(STARTED)
    for event in (step(1, None), step(2, score), step(3, score)):
        reporter.record(event)
    reporter.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert "12,345 parameters" in lines[0]
    assert "1.9500 bits per base, 37.5% accuracy" in lines[1]
    assert lines[2].startswith("step 2/10 ")
    assert "held out 1.9000 bits, 40.0%" in lines[2]
    assert "1:05 left" in lines[2]


def test_off_a_terminal_there_is_a_line_per_half_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 10.0, 31.0, 40.0, 70.0])
    monkeypatch.setattr("genomeformer_cli.render.progress.time.monotonic", lambda: next(clock))
    screen, stream = spoken(terminal=False)
    screen.record(STARTED)
    for number in (1, 2, 3, 4):
        screen.record(step(number, None))
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["2/10", "4/10"]
    assert "held out" not in lines[0]
    assert "1:05 left" in lines[0]


def test_on_a_terminal_the_model_is_shown_beside_the_table() -> None:
    reporter, stream = spoken(terminal=True)
    reporter.record(STARTED)
    reporter.record(step(2, Score(bits_per_base=1.9, accuracy=0.4, num_bases=1000)))
    reporter.close()
    reporter.close()
    screen = stream.getvalue()
    for words in ("1.9000", "1.9500", "step 2/10", "5,000 bases/s", "counts of 3 neighbours"):
        assert words in screen


def test_events_of_other_kinds_are_ignored() -> None:
    reporter, stream = spoken(terminal=False)
    reporter.record(Event())
    reporter.record(step(1, None))
    assert stream.getvalue() == ""


def test_warnings_begin_so_and_nothing_is_markup() -> None:
    reporter, stream = spoken(terminal=False)
    reporter.warn("the id `[red]` occurs twice")
    reporter.note("saved `a[b].npy`")
    assert stream.getvalue() == "warning: the id `[red]` occurs twice\nsaved `a[b].npy`\n"


@pytest.mark.parametrize("unit", ["bases", "bytes"])
def test_bars_are_for_terminals_only(unit: str) -> None:
    for terminal in (False, True):
        reporter, stream = spoken(terminal=terminal)
        with reporter.track("verifying", 10, unit) as tracker:
            tracker.advance(4)
            tracker.advance(6)
        assert ("verifying" in stream.getvalue()) == terminal


def test_long_work_is_a_line_per_half_minute_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 0.0, 10.0, 40.0, 50.0, 100.0])
    monkeypatch.setattr("genomeformer_cli.render.progress.time.monotonic", lambda: next(clock))
    reporter, stream = spoken(terminal=False)
    with reporter.track("probing", 5_000, "rows") as tracker:
        for amount in (500, 500, 1_000, 1_000):
            tracker.advance(amount)
    assert stream.getvalue().splitlines() == [
        "probing: 1,000 rows of 5,000 rows, 2:40 left",
        "probing: 3,000 rows of 5,000 rows, 1:07 left",
    ]


def test_a_command_that_fails_leaves_the_live_view(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), terminal_reporter() as reporter:
        reporter.note(str(1 / 0))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [
        (Verbosity.QUIET, {"careful"}),
        (Verbosity.NORMAL, {"note", "careful", "step"}),
        (Verbosity.VERBOSE, {"note", "careful", "step", "detail", "done"}),
    ],
)
def test_each_level_shows_its_messages(verbosity: Verbosity, shown: set[str]) -> None:
    stream = io.StringIO()
    reporter = TerminalReporter(Console(file=stream, width=120), verbosity=verbosity)
    reporter.note("note")
    reporter.debug("detail")
    reporter.warn("careful")
    reporter.record(STARTED)
    reporter.record(step(2, Score(bits_per_base=1.9, accuracy=0.4, num_bases=1000)))
    with reporter.track("bar", 3, "files"):
        pass
    reporter.close()
    words = {"note", "detail", "careful", "step", "done", "bar"}
    assert {word for word in words if word in stream.getvalue()} == shown


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


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)


def written(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_bars_of_many_files_at_once() -> None:
    screen = console(terminal=True)
    reporter = TerminalReporter(screen)

    def follow(number: int) -> None:
        with reporter.track(f"file-{number}", 1_000_000, "bytes") as bar:
            for _ in range(10):
                bar.advance(100_000)

    with reporter.track("genomes", 4, "genomes") as total:
        threads = [threading.Thread(target=follow, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
            total.advance(1)
        with reporter.track("unknown", None, "assemblies") as bar:
            bar.advance(3)
            screen.print("between")
    shown = written(screen)
    assert "genomes" in shown
    assert "between" in shown
    assert reporter._progress is None
    reporter.close()


@pytest.mark.parametrize("terminal", [True, False])
def test_without_bars_there_is_one_line_per_file(*, terminal: bool) -> None:
    screen = console(terminal=terminal)
    reporter = TerminalReporter(screen)
    with reporter.track("genomes", 2, "genomes") as bar:
        bar.advance(1)
        reporter.record(GenomeFetched(accession="GCF_1", organism="E. coli", num_bytes=2_000))
        reporter.record(GenomeFetched(accession="GCF_2", organism="E. coli"))
        reporter.record(GenomeFetched(accession="GCF_3", organism="E. coli", reason="gone [404]"))
    shown = written(screen)
    assert ("GCF_1  E. coli  2.0 kB" in shown) is not terminal
    assert "GCF_2" not in shown
    assert "warning: GCF_3: gone [404]" in shown
