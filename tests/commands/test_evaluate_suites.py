"""`evaluate --suite`: published layouts, with tasks whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.evaluation import interval_layouts, neighbourhood, probe_metrics
from genomeformer_cli.core.evaluation.layouts import task_sources
from genomeformer_cli.core.known_suites import known_suites
from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.models import RUN
from tests.suite_samples import FOLDER, LENGTH, write_suites

pytestmark = pytest.mark.usefixtures("trained")

# Rows read and left out of every task, and a metric of its suite that GC content settles.
TASKS: dict[str, dict[str, tuple[int, int]]] = {
    "gue": {"tf_0": (30, 0)},
    "nt": {"H3": (24, 0), "promoter_tata": (24, 0)},
    "genomic-benchmarks": {"hub": (24, 0), "intervals": (28, 4), "texts": (24, 0)},
    "lambda": {
        "genome_wide_2k": (34, 0),
        "shuffled_controls_2k": (28, 0),
        "train_val_test_2k": (30, 0),
    },
    "bacbench": {"essential": (65, 5), "operon": (30, 3)},
    "bend": {
        "cpg_methylation_0": (30, 0),
        "cpg_methylation_3": (30, 0),
        "cpg_methylation_11": (30, 0),
        "enhancer_annotation": (30, 0),
        "gene_finding": (1440, 1410),
        "promoters": (30, 0),
    },
}
SETTLED = {"cpg_methylation_11": False, "operon": False, "essential": False}
SPLIT_BY_FOLDS = {"operon"}
UNREAD = {
    "bend": {
        "absent": "its labels are in `absent.hdf5`, which is not beside it",
        "variant_effects_disease": "it holds labelled variants",
    },
    "lambda": {"fpr_test_2k": "its rows are of one class"},
}
# Groups of the tested rows: genomes, or strains.
GROUPS = {
    "genome_wide_2k": 2,
    "essential": 2,
    "operon": 3,
    "enhancer_annotation": 4,
    "gene_finding": 8,
}


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw few bootstrap samples and permutations: no test looks at intervals."""
    monkeypatch.setattr(probe_metrics, "NUM_SAMPLES", 20)
    monkeypatch.setattr(neighbourhood, "NUM_PERMUTATIONS", 20)
    monkeypatch.setattr(interval_layouts, "WINDOW", LENGTH)


def evaluate(run_cli: RunCommand, suite: str, output: Path, *options: str) -> tuple[Any, str, str]:
    command = ("evaluate", RUN, "--no-likelihood", "--suite", str(FOLDER / suite), *options)
    done = run_cli(*command, "--workers", "1", "-o", str(output))
    assert done.exit_code == 0, done.err
    results = json.loads((output / "eval_results.json").read_text(encoding="utf-8"))
    return results["tasks"], done.out, done.err


@pytest.mark.parametrize("suite", TASKS)
def test_every_task_of_a_published_folder(run_cli: RunCommand, tmp_path: Path, suite: str) -> None:
    tasks, out, err = evaluate(run_cli, suite, tmp_path / "out")
    for name, reason in UNREAD.get(suite, {}).items():
        assert f"the task `{name}` is not evaluated: {reason}" in err
    assert [task["name"] for task in tasks] == list(TASKS[suite])
    (known,) = (known for known in known_suites() if known.name == suite)
    table = out[out.index("metrics of the suites") :]
    for task in tasks:
        read, left_out = TASKS[suite][task["name"]]
        count = task["count"]
        assert (count["read"], sum(count["left_out"].values())) == (read, left_out)
        assert count["read"] == count["used"] + left_out
        assert task["num_rows"] == count["used"]
        assert task["official_split"] == (task["name"] not in SPLIT_BY_FOLDS)
        assert (task["suite"], tuple(task["metrics"])) == (suite, known.metrics)
        assert f"\n{task['name']} " in table
        kmers = next(row for row in task["rows"] if row["who"] == "3-mers")
        if SETTLED.get(task["name"], True):
            for metric in ("mcc", "accuracy", "auroc", "auprc", "f1"):
                assert kmers["logistic"][metric]["value"] == pytest.approx(1.0)
        groups = kmers["groups"]
        assert (groups or {"num_groups": 0})["num_groups"] == GROUPS.get(task["name"], 0)
        if task["name"] == "genome_wide_2k":
            ones = {"mean_mcc": 1.0, "median_auroc": 1.0, "median_auprc": 1.0}
            assert groups == {"num_groups": 2, "num_both": 2, **ones}
            assert "MCC, mean over groups" in table


@pytest.mark.parametrize("name", ["traitgym", "bend/data/variant_effects"])
def test_a_folder_of_variants_is_named(run_cli: RunCommand, name: str) -> None:
    done = run_cli("evaluate", RUN, "--no-likelihood", "--suite", str(FOLDER / name))
    assert_failure(done, "holds labelled variants", hint="--suites")


@pytest.mark.parametrize(
    ("suite", "genome", "name"),
    [
        ("traitgym", "traitgym/genome.fa", "mendelian_traits_matched_9"),
        ("bend", "bend/data/genomes/GRCh38.fa", "variant_effects_disease"),
    ],
)
def test_variants_of_a_suite_are_scored_with_their_genome(
    run_cli: RunCommand, tmp_path: Path, suite: str, genome: str, name: str
) -> None:
    command = ("evaluate", RUN, "--no-likelihood", "--suite", str(FOLDER / suite), "--only", name)
    options = ("--genome", str(FOLDER / genome), "--workers", "1", "-o", str(tmp_path / "out"))
    done = run_cli(*command, *options, "--json")
    assert done.exit_code == 0, done.err
    assert "is not evaluated" not in done.err
    results = json.loads(done.out)
    (variants,) = results["suite_variants"]
    assert (variants["name"], variants["count"]["left_out"]) == (name, {})
    assert variants["count"]["used"] == variants["count"]["read"] >= 39
    assert {row["source"] for row in variants["rows"]} >= {"model", "random", "counts"}
    sources = {(row["source"], row["score"]) for row in variants["rows"]}
    assert (("feature", "distance to feature") in sources) == (suite == "traitgym")
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"Labelled variants: {name}" in page


def test_operons_are_ranked_without_training(run_cli: RunCommand, tmp_path: Path) -> None:
    evaluate(run_cli, "bacbench", tmp_path / "out", "--only", "operon")
    results = json.loads((tmp_path / "out" / "eval_results.json").read_text(encoding="utf-8"))
    (chains,) = results["gene_chains"]
    # Five pairs per contig, three operon pairs of six genes; each genome has two contigs.
    assert (chains["name"], chains["num_genomes"], chains["count"]["used"]) == ("operon", 3, 30)
    assert chains["num_positive"] == 12
    areas = {row["source"]: row["auroc"]["value"] for row in chains["rows"]}
    assert set(areas) == {
        "model",
        "random",
        "3-mers",
        "4-mers",
        "5-mers",
        "6-mers",
        "strand",
        "gap",
    }
    # One of six negative pairs of a genome is on different strands; the others are ties.
    assert areas["strand"] == pytest.approx((1 + 5 / 2) / 6)
    assert "Operons without training" in (tmp_path / "out" / "report.html").read_text()


def test_the_list_of_suites(run_cli: RunCommand) -> None:
    done = run_cli("models", "--suites")
    assert (done.exit_code, done.err) == (0, "")
    lines = done.out.splitlines()
    names = [line.partition(":")[0] for line in lines if not line.startswith(" ")]
    assert names == [suite.name for suite in known_suites()]
    assert "  licence  unknown" in lines
    suites = json.loads(run_cli("models", "--suites", "--json").out)
    assert [suite["name"] for suite in suites] == names
    for suite in suites:
        assert {"splits", "metric"} <= {rule["subject"] for rule in suite["rules"]}


def test_each_layout_belongs_to_a_known_suite() -> None:
    found = {source.suite for source in task_sources(FOLDER)}
    assert found == {suite.name for suite in known_suites()}


def test_the_samples_are_those_of_their_script(tmp_path: Path) -> None:
    folder = tmp_path / "suites"
    write_suites(folder)
    written = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    committed = {path.relative_to(FOLDER) for path in FOLDER.rglob("*") if path.is_file()}
    assert committed - {Path("README.md")} == written
    for path in written:
        if path.suffix not in (".parquet", ".hdf5"):  # bytes depend on the package's version
            assert (folder / path).read_bytes() == (FOLDER / path).read_bytes()
