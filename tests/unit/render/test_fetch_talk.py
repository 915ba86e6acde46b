"""What a fetch looks like: bars on a terminal, lines in a log, a summary at the end."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from genomeformer_cli.core.genomes.events import GenomeFetched
from genomeformer_cli.core.genomes.genome import FetchedGenome, Genome
from genomeformer_cli.core.genomes.ncbi.plan import Plan
from genomeformer_cli.core.genomes.ncbi.query_dir import Failure
from genomeformer_cli.core.genomes.ncbi.update import Update
from genomeformer_cli.core.workflows.fetch import FetchResult
from genomeformer_cli.render.progress import TerminalReporter
from genomeformer_cli.render.tables import render_fetch


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
def test_a_line_a_file_where_there_are_no_bars(*, terminal: bool) -> None:
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
    screen = console(terminal=False)
    screen.print(render_fetch(FetchResult(**parts)))
    return written(screen)


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
