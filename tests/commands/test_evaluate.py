"""`evaluate`: the report of a model on its corpus, held-out files and labelled tasks."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.evaluation.kmers import KS, ONE_HOT, UNSCALED
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.workflows import evaluate as workflow
from tests.cli import RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.models import RELEASED, RUN

PROMOTERS = Path(str(files("genomeformer_cli"))) / "assets" / "sequences" / "ecoli_promoters.fa"
PHAGE = Path(str(files("genomeformer_cli"))) / "assets" / "genomes"

pytestmark = pytest.mark.usefixtures("trained")


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Real promoters among random sequences of the same length, in one fold."""
    rows = ["id\tsequence\tlabel\tsplit"]
    text = PROMOTERS.read_text(encoding="ascii")
    for number, block in enumerate(text.split(">")[1:25]):
        letters = "".join(block.splitlines()[1:])
        split = "test" if number % 3 == 0 else "train"
        for kind, bases in (("promoter", letters), ("random", random_dna(57, number))):
            rows.append(f"{kind}{number}\t{bases}\t{kind}\t{split}")
    path = tmp_path / "promoters.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_one_report_of_everything(run_cli: RunCommand, labelled: Path, tmp_path: Path) -> None:
    command = ["evaluate", RUN, "--task", str(labelled), "--seeds", "2", "--workers", "1"]
    done = run_cli(*command, "-o", str(tmp_path / "one"))
    assert done.exit_code == 0, done.err
    for words in (
        "gain over counts",
        "random weights, seed 1",
        "MCC - best k-mers",
        "purity of 10",
    ):
        assert words in done.out
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    results = json.loads((tmp_path / "one" / "eval_results.json").read_text(encoding="utf-8"))
    assert [one["question"][:15] for one in results["predictions"]] == [
        "one base in 64 ",
        "15% of the base",
    ]
    (task,) = results["tasks"]
    assert task["classes"] == ["promoter", "random"]
    kinds = ["model", "random", *(f"{k}-mers" for k in KS), ONE_HOT, *UNSCALED]
    assert [row["who"] for row in task["rows"]] == kinds * 2
    again = run_cli(*command, "-o", str(tmp_path / "two"), "--json")
    assert json.loads(again.out) == results


def test_held_out_files_by_region(run_cli: RunCommand, tmp_path: Path) -> None:
    annotation = Path(__file__).parents[1] / "data" / "annotation" / "NC_001422.1.gb.gz"
    done = run_cli(
        *("evaluate", RELEASED, "--gff", str(annotation), "-o", str(tmp_path / "e")),
        *("--json", "--set", "prediction.passes=16"),
    )
    assert done.exit_code == 0, done.err
    rows = json.loads(done.out)["predictions"][0]["rows"]
    parts = {row["part"] for row in rows if row["kind"] == "region"}
    assert {"codon position 1", "codon position 2", "codon position 3"} <= parts
    assert {row["who"] for row in rows} == {"model", "counts", "random"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--no-likelihood"], 2, "nothing to evaluate: likelihood is off and no task is given"),
        (["--set", "prediction.by=species"], 2, "`prediction.by` cannot be `species`"),
        (["--window", "9" * 20], 2, "`window` cannot be 1e+20"),
        (["--set", "prediction.passes=65"], 2, "`passes` cannot be 65"),
        (["--set", "prediction.rate=0"], 2, "`rate` cannot be 0"),
        (["--set", "labelled.most_training=9"], 2, "`most_training` cannot be 9"),
        (["--set", "prediction.window=32", "--window", "16"], 2, "an option and by `--set`"),
        (["--corpus", "nowhere"], 1, "nowhere"),
        (["--no-likelihood", "--task", "absent.tsv"], 1, "absent.tsv"),
        (["--no-likelihood", "--suite", "absent"], 1, "holds no task"),
    ],
)
def test_what_cannot_be_evaluated(
    run_cli: RunCommand, arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    done = run_cli("evaluate", RUN, *arguments, "-o", str(tmp_path / "e"))
    assert_failure(done, said, exit_code=code)
    assert not (tmp_path / "e").exists()


def test_without_a_model_the_default_is_evaluated(
    run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def evaluate(request: workflow.EvaluateRequest, *, reporter: Reporter) -> None:
        asked.append(request.model)
        raise UsageError("enough", hint="stop here")

    monkeypatch.setattr(workflow, "evaluate_model", evaluate)
    for question in (["--held-out", "x.fa"], ["--codon-effects"], ["--task", "x.tsv"]):
        assert_failure(run_cli("evaluate", *question, "-o", str(tmp_path / "e")), exit_code=2)
    assert asked == ["default"] * 3
    assert_failure(run_cli("evaluate"), "nothing to evaluate", exit_code=2)
