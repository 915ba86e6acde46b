"""A real task in real processes, killed on the way: promoters of E. coli."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest

from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.models import RELEASED

ASSETS = Path(str(files("genomeformer_cli"))) / "assets"
OPTIONS = ["--threads", "1", "--device", "cpu", "--epochs", "4", "--set", "tuning.strands=augment"]


@pytest.fixture
def promoters(tmp_path: Path) -> Path:
    """Promoters of E. coli and stretches without: the bundled sequences, told by their headers."""
    from genomeformer_cli.core.formats.fasta import read_records

    records = read_records(ASSETS / "sequences" / "ecoli_promoters.fa")
    rows = [f"{one.id}\t{one.sequence}\t{one.description.split()[0]}" for one in records]
    path = tmp_path / "promoters.tsv"
    path.write_text("\n".join(["id\tsequence\tlabel", *rows]) + "\n")
    return path


def test_killed_and_run_again_it_is_the_same_model(
    promoters: Path, trained: Path, run_cli: RunCommand
) -> None:
    """The one that is killed runs in a fresh process, and is gone on with in this one."""

    def command(name: str) -> list[str]:
        return ["finetune", str(promoters), "--model", RELEASED, "--name", name, *OPTIONS]

    whole = run_cli(*command("whole"), "--json")
    assert whole.exit_code == 0, whole.err
    runs = trained / "runs"
    process = subprocess.Popen(
        [sys.executable, "-m", "genomeformer_cli", *command("killed")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    checkpoints = runs / "killed" / "pretrained-seed-0" / "checkpoints"
    while process.poll() is None and not list(checkpoints.glob("step-*")):
        time.sleep(0.01)
    process.kill()
    assert process.wait() != 0, "it was to be killed before its end"
    early = run_cli("predict", str(promoters), "--model", "killed", "--workers", "1")
    assert_failure(early, "is not finished", hint="`genomeformer finetune` command again")
    again = run_cli(*command("killed"), "--json")
    assert again.exit_code == 0, again.err
    assert "resuming after step" in again.err
    one, other = (runs / name / "pretrained-seed-0" for name in ("whole", "killed"))
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    for name in ("model.safetensors", "head.safetensors"):
        bundles = [trained / "weights" / run / name for run in ("whole", "killed")]
        assert bundles[0].read_bytes() == bundles[1].read_bytes()
    results = [json.loads(done.out)["summary"]["results"] for done in (whole, again)]
    assert results[0] == results[1]
    assert results[0][0]["test"]["num_rows"] == 20
    fasta = promoters.with_name("again.fa")
    lines = [line.split("\t") for line in promoters.read_text().splitlines()[1:]]
    fasta.write_text("".join(f">{name}\n{letters}\n" for name, letters, _ in lines))
    answers = run_cli("predict", str(fasta), "--model", "killed", "--workers", "1")
    assert answers.exit_code == 0, answers.err
    rows = [line.split("\t") for line in answers.out.splitlines()[1:]]
    assert [row[0] for row in rows] == [name for name, _, _ in lines]
    assert {row[2] for row in rows} <= {"promoter", "not_a_promoter"}
