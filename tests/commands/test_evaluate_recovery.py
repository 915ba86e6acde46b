"""`evaluate --recovery`: hidden bases of a phage, rewritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.models import RELEASED

pytestmark = pytest.mark.usefixtures("trained")

SMALL = ("--set", "recovery.prompt=40", "--set", "recovery.bases=16", "--set", "recovery.rounds=2")


def test_recovery_of_the_held_out_part(run_cli: RunCommand, tmp_path: Path) -> None:
    command = ("evaluate", RELEASED, "--recovery", *SMALL, "-o", str(tmp_path / "e"))
    done = run_cli(*command)
    assert done.exit_code == 0, done.err
    assert "Sequence recovery: 16 hidden bases, filled between both sides" in done.out
    assert "Markov chain of order" in done.out
    results = json.loads((tmp_path / "e" / "eval_results.json").read_text(encoding="utf-8"))
    assert results["predictions"] == results["tasks"] == []
    assert len(results["recovery"]["rows"]) == 4
    assert "Sequence recovery" in (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert json.loads(run_cli(*command, "--json").out) == results


def test_what_cannot_be_recovered(run_cli: RunCommand, tmp_path: Path) -> None:
    short = tmp_path / "short.fa"
    short.write_text(">a\nACGTACGT\n")
    done = run_cli("evaluate", RELEASED, "--recovery", "--held-out", str(short))
    assert_failure(done, "and 4 are needed", exit_code=2)
    done = run_cli("evaluate", RELEASED, "default", "--recovery")
    assert_failure(done, "`--recovery` applies to the evaluation of one model", exit_code=2)
