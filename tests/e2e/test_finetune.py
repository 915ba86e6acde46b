"""A real task, in real processes: promoters of E. coli told from the phage, killed on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest

from tests.cli import run_fresh
from tests.models import RELEASED

ASSETS = Path(str(files("genomeformer_cli"))) / "assets"
OPTIONS = ["--threads", "1", "--device", "cpu", "--epochs", "6", "--rc", "augment"]


@pytest.fixture
def promoters(tmp_path: Path, trained: Path) -> Path:
    """Promoters, and stretches of phage phiX174 of the same length."""
    from genomeformer_cli.core.genomes.fasta import read_records

    rows = ["id\tsequence\tlabel"]
    found = [r.sequence for r in read_records(ASSETS / "sequences" / "ecoli_promoters.fa")]
    (fasta,) = (trained / "genomes").glob("*/*.gz")
    (phage,) = read_records(fasta)
    for number, letters in enumerate(found):
        start = number * (len(phage.sequence) - len(letters)) // len(found)
        other = phage.sequence[start : start + len(letters)]
        rows += [f"p{number}\t{letters}\tpromoter", f"o{number}\t{other}\tphage"]
    path = tmp_path / "promoters.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_killed_and_run_again_it_is_the_same_model(promoters: Path, trained: Path) -> None:
    def command(name: str) -> list[str]:
        return ["finetune", str(promoters), "--model", RELEASED, "--name", name, *OPTIONS]

    whole = run_fresh(*command("whole"), "--json")
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
    again = run_fresh(*command("killed"), "--json")
    assert again.exit_code == 0, again.err
    assert "resuming after step" in again.err
    one, other = (runs / name / "pretrained-seed-0" for name in ("whole", "killed"))
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    for name in ("model.safetensors", "head.safetensors"):
        bundles = [trained / "weights" / run / name for run in ("whole", "killed")]
        assert bundles[0].read_bytes() == bundles[1].read_bytes()
    results = [json.loads(done.out)["summary"]["results"] for done in (whole, again)]
    assert results[0] == results[1]
    assert results[0][0]["test"]["measures"]["auroc"] > 0.6
