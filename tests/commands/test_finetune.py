"""`finetune` and `predict`: runs, their results, and what is refused."""

from __future__ import annotations

import gzip
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tests.cli import Finished, RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.models import RELEASED, RUN

pytestmark = pytest.mark.usefixtures("trained")

QUICK = ["--threads", "1", "--device", "cpu", "--epochs", "2", "--set", "training.batch_size=16"]
SEQUENCES = [(f"s{n}", random_dna(20 + n % 30, n)) for n in range(60)]


def share(letters: str, of: str) -> float:
    return sum(letter in of for letter in letters) / len(letters)


def table(path: Path, **cells: list[str]) -> Path:
    """Sequences, and columns of labels."""
    names = ["id", "sequence", *cells]
    lines = ["\t".join(names)]
    for number, (name, letters) in enumerate(SEQUENCES):
        lines.append("\t".join([name, letters, *(cells[one][number] for one in cells)]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    labels = ["rich" if share(letters, "GC") > 0.5 else "poor" for _, letters in SEQUENCES]
    species = [f"species{n % 7}" for n in range(len(SEQUENCES))]
    return table(tmp_path / "gc.tsv", kind=labels, species=species)


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "seqs.fa"
    path.write_text(">a x\nACGTACGTAC\n>empty\n>n\nNNNN\n>b\nGGGGGCCCCC\nGG\n>a\nacgtRYacgt\n")
    return path


def tuned(run_cli: RunCommand, data: Path, name: str, *more: str) -> Finished:
    if not any(setting.startswith("network=") for setting in more):
        more = (*more, "--set", "network=off")
    done = run_cli("finetune", str(data), "--model", RELEASED, "--name", name, *QUICK, *more)
    assert done.exit_code == 0, done.err
    return done


def test_pretrained_beside_scratch_seed_by_seed(
    run_cli: RunCommand, classes: Path, tmp_path: Path, cache_home: Path
) -> None:
    options = ["--target", "kind", "--group", "species", "--from-scratch"]
    first = tuned(run_cli, classes, "gc", *options, "--json")
    summary = json.loads(first.out)["summary"]
    assert [(one["origin"], one["seed"]) for one in summary["results"]] == [
        ("pretrained", 0),
        ("scratch", 0),
    ]
    assert "classification (poor, rich)" in first.err
    output = tmp_path / "bundle"
    more = tuned(run_cli, classes, "gc", *options, "--seeds", "2", "-o", str(output))
    assert "pretrained: mcc" in more.out
    assert "over 2 seeds" in more.out
    results = json.loads((output / "eval_results.json").read_text())
    assert results["results"][:2] == summary["results"], "what was finished is kept"
    assert len(results["results"]) == 4
    card = (output / "README.md").read_text()
    for one in results["results"]:
        assert f"{one['test']['measures']['mcc']:.4f}" in card
    for name in ("model.safetensors", "head.safetensors", "tokenizer.json", "train_config.toml"):
        assert (output / name).read_bytes() == (cache_home / "weights" / "gc" / name).read_bytes()
    config = json.loads((output / "config.json").read_text())
    assert config["task"]["targets"]["names"] == ["poor", "rich"]
    assert run_cli("cache", "verify").exit_code == 0


def test_the_precision_is_tried_once_and_a_run_keeps_the_one_it_began_with(
    run_cli: RunCommand, classes: Path, cache_home: Path
) -> None:
    options = ["--target", "kind", "--epochs", "1"]
    begun = tuned(run_cli, classes, "gc", *options)
    assert "measured on this machine: fp32" in begun.err
    config = cache_home / "runs" / "gc" / "config.toml"
    taken = tomllib.loads(config.read_text())["compute"]
    assert taken["precision"] in ("fp32", "bf16")
    # A machine that finds the other one faster from now on.
    trials = cache_home / "trials.json"
    seconds = {"fp32": 1.0, "bf16": 1.0}
    seconds["fp32" if taken["precision"] == "bf16" else "bf16"] = 0.1
    known = json.loads(trials.read_text())
    trials.write_text(json.dumps({key: {**one, "seconds": seconds} for key, one in known.items()}))
    # A run of an earlier version lacks later settings, which had their defaults.
    del taken["kernels"]
    config.write_text(config.read_text().replace('kernels = "auto"\n', ""))
    more = tuned(run_cli, classes, "gc", *options, "--seeds", "2")
    assert "measured on this machine" not in more.err
    assert tomllib.loads(config.read_text())["compute"]["precision"] == taken["precision"]
    other = tuned(run_cli, classes, "other", *options, "--json")
    assert "measured on this machine" not in other.err
    environment = json.loads(other.out)["summary"]["environment"]
    assert environment["precision"] != taken["precision"]
    refused = run_cli(
        *("finetune", str(classes), "--model", RELEASED, "--name", "gc", *QUICK, *options),
        *("--set", f"compute.precision={environment['precision']}"),
    )
    assert_failure(refused, "compute.precision", exit_code=2)


def test_answers_are_in_the_order_of_the_input_and_nothing_vanishes(
    run_cli: RunCommand, classes: Path, fasta: Path, tmp_path: Path
) -> None:
    tuned(run_cli, classes, "gc", "--target", "kind")
    done = run_cli("predict", str(fasta), "--model", "gc")
    assert done.exit_code == 0, done.err
    header, *rows = [line.split("\t") for line in done.out.splitlines()]
    assert header == ["id", "length", "label", "p_poor", "p_rich", "note"]
    assert [row[0] for row in rows] == ["a", "empty", "n", "b", "a"]
    assert [row[-1] for row in rows] == ["", "empty", "only-N", "", ""]
    assert rows[1][2:5] == rows[2][2:5] == ["NaN"] * 3
    for row in (rows[0], rows[3], rows[4]):
        chances = [float(cell) for cell in row[3:5]]
        assert sum(chances) == pytest.approx(1, abs=1e-5)
        assert row[2] == ("poor", "rich")[int(np.argmax(chances))]
    packed = tmp_path / "seqs.fa.gz"
    packed.write_bytes(gzip.compress(fasta.read_bytes()))
    out = tmp_path / "out.tsv"
    assert run_cli("predict", str(packed), str(fasta), "--model", "gc", "-o", str(out)).out == ""
    assert out.read_text().splitlines() == [*done.out.splitlines(), *done.out.splitlines()[1:]]
    piped = run_cli("predict", "-", "--model", "gc", "--json", stdin=fasta.read_bytes())
    found = json.loads(piped.out)
    assert (found["kind"], found["names"]) == ("classification", ["poor", "rich"])
    assert [one["label"] for one in found["records"]][1:3] == [None, None]
    assert found["records"][1]["probabilities"] == [None, None]
    assert found["count"] == {"read": 5, "used": 3, "left_out": {"empty": 1, "only-N": 1}}
    assert "5 records read, 3 used, 2 left out (1 empty; 1 only-N)" in done.err
    assert f"{found['records'][3]['probabilities'][1]:.6g}" == rows[3][4]


def test_a_label_for_every_base(run_cli: RunCommand, tmp_path: Path, fasta: Path) -> None:
    labels = ["".join("sw"[one in "AT"] for one in letters) for _, letters in SEQUENCES]
    data = table(tmp_path / "bases.tsv", label=labels)
    tuned(run_cli, data, "bases", "--set", "tuning.strands=average", "--method", "lora")
    strings = run_cli("predict", str(fasta), "--model", "bases").out.splitlines()
    assert strings[0].split("\t") == ["id", "length", "labels", "note"]
    rows = [line.split("\t") for line in strings[1:]]
    assert [len(row[2]) for row in rows] == [10, 3, 3, 12, 10]
    assert rows[2][2:] == ["NaN", "only-N"]
    done = run_cli("predict", str(fasta), "--model", "bases", "--base-labels", "rows")
    header, *by_base = [line.split("\t") for line in done.out.splitlines()]
    assert header == ["id", "position", "base", "label", "p_s", "p_w", "note"]
    assert [row[0] for row in by_base] == [
        *["a"] * 10,
        "empty",
        *["n"] * 4,
        *["b"] * 12,
        *["a"] * 10,
    ]
    assert "".join(row[3] for row in by_base[15:27]) == rows[3][2]
    plain = json.loads(run_cli("predict", str(fasta), "--model", "bases", "--json").out)
    assert len(plain["records"][3]["probabilities"]) == 12


@pytest.mark.parametrize(
    ("cells", "options", "header"),
    [
        ({"x": "gc", "y": "long"}, ["--target", "x,y"], ["x", "y"]),
        ({"label": "both"}, ["--kind", "multi-label"], ["labels", "p_long", "p_rich"]),
        ({"x": "flag", "y": "flag"}, ["--target", "x", "--target", "y"], ["labels", "p_x", "p_y"]),
    ],
)
def test_numbers_and_several_labels(
    cells: dict[str, str],
    options: list[str],
    header: list[str],
    run_cli: RunCommand,
    tmp_path: Path,
    fasta: Path,
) -> None:
    made = {
        "gc": [f"{share(letters, 'GC'):.3f}" for _, letters in SEQUENCES],
        "long": [str(len(letters)) for _, letters in SEQUENCES],
        "both": [
            ";".join(["rich"] * (share(s, "GC") > 0.5) + ["long"] * (len(s) > 35))
            for _, s in SEQUENCES
        ],
        "flag": [str(int(share(letters, "GC") > 0.5)) for _, letters in SEQUENCES],
    }
    data = table(tmp_path / "data.tsv", **{name: made[how] for name, how in cells.items()})
    tuned(run_cli, data, "t", *options, "--set", "tuning.pool=attention")
    done = run_cli("predict", str(fasta), "--model", "t")
    assert done.exit_code == 0, done.err
    assert done.out.splitlines()[0].split("\t")[2:-1] == header
    numbers = [line.split("\t") for line in done.out.splitlines()[1:]]
    assert all(np.isfinite(float(cell)) for cell in numbers[0][2 + header.count("labels") : -1])


def test_other_commands_take_a_tuned_model(
    run_cli: RunCommand, classes: Path, fasta: Path, tmp_path: Path
) -> None:
    tuned(run_cli, classes, "gc", "--target", "kind", "--epochs", "1")
    for model in (RELEASED, "gc"):
        done = run_cli("embed", str(fasta), "--model", model, "-o", str(tmp_path / f"{model}.npy"))
        assert done.exit_code == 0, done.err
    one, other = (np.load(tmp_path / f"{model}.npy") for model in (RELEASED, "gc"))
    assert one.shape == other.shape
    assert not np.allclose(one[0], other[0])
    again = run_cli("finetune", str(classes), "--target", "kind", "--model", "gc", *QUICK)
    assert again.exit_code == 0, again.err
    assert "gc-gc" in again.out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--target", "absent"], 1, "no column `absent`"),
        (["--target", "kind", "--group", "absent"], 1, "no column `absent`"),
        (["--target", "kind,kind"], 2, "repeats a column"),
        (["--target", "kind", "--kind", "sort"], 2, "unknown kind"),
        (["--target", "kind", "--kind", "regression"], 1, "not a finite number"),
        (["--target", "kind", "--set", "tuning.metric=r2"], 2, "invalid metric"),
        (["--target", "kind", "--method", "half"], 2, "cannot be `half`"),
        (
            ["--target", "kind", "--set", "tuning.rank=4", "--set", "tuning.alpha=0"],
            2,
            "`tuning.alpha` cannot be 0",
        ),
        (["--target", "kind", "--set", "split.test=0"], 2, "invalid fractions"),
        (
            ["--target", "kind", "--linear", "both", "--set", "tuning.strands=average"],
            2,
            "single strand",
        ),
        (["--target", "species", "--kind", "classification", "--linear", "k"], 2, "cannot be `k`"),
        (["--target", "kind", "--name", RELEASED], 1, "already has a model"),
    ],
)
def test_what_cannot_be_learned(
    run_cli: RunCommand, classes: Path, arguments: list[str], code: int, said: str
) -> None:
    done = run_cli("finetune", str(classes), "--model", RELEASED, *QUICK, *arguments)
    assert_failure(done, said, exit_code=code)


def test_a_run_of_other_settings_or_rows_is_refused(
    run_cli: RunCommand, classes: Path, tmp_path: Path
) -> None:
    tuned(run_cli, classes, "gc", "--target", "kind")
    command = ["finetune", str(classes), "--target", "kind", "--model", RELEASED, "--name", "gc"]
    other = run_cli(*command, *QUICK, "--set", "tuning.dropout=0.3")
    assert_failure(other, "tuning.dropout: 0.1 -> 0.3", exit_code=2)
    classes.write_text(classes.read_text().replace("rich", "poor", 1))
    assert_failure(run_cli(*command, *QUICK), "rows_sha256", exit_code=2)
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    assert_failure(run_cli(*command, *QUICK, "-o", str(full)), "not an empty folder")


def test_a_folder_of_tasks(run_cli: RunCommand, tmp_path: Path) -> None:
    for name in ("one", "two"):
        place = tmp_path / "GUE" / name
        place.mkdir(parents=True)
        for split, some in (
            ("train", SEQUENCES[:40]),
            ("dev", SEQUENCES[40:50]),
            ("test", SEQUENCES[50:]),
        ):
            lines = [f"{letters},{int(share(letters, 'GC') > 0.5)}" for _, letters in some]
            (place / f"{split}.csv").write_text("\n".join(["sequence,label", *lines]) + "\n")
    command = ["finetune", str(tmp_path / "GUE"), "--model", RUN, *QUICK]
    assert_failure(run_cli(*command), "several tasks", hint="--only")
    done = run_cli(*command, "--only", "two", "--json")
    assert done.exit_code == 0, done.err
    summary = json.loads(done.out)["summary"]
    assert summary["official_split"]
    assert summary["num_rows"] == {"train": 40, "val": 10, "test": 10}


def test_predicting_needs_a_tuned_model(run_cli: RunCommand, fasta: Path) -> None:
    done = run_cli("predict", str(fasta), "--model", RELEASED)
    assert_failure(done, "no prediction head", hint="finetune")
    done = run_cli("predict", str(fasta), "--model", RELEASED, "--base-labels", "table")
    assert_failure(done, "invalid form of labels `table`", exit_code=2)


def test_the_models_of_all_seeds_predict_together(
    run_cli: RunCommand, classes: Path, fasta: Path
) -> None:
    options = ["--target", "kind", "--seeds", "2", "--set", "members=all"]
    done = tuned(run_cli, classes, "gc", *options)
    assert "--model gc-seed-0 --model gc-seed-1" in done.out
    assert "mean " in done.out

    def probabilities(*names: str) -> np.ndarray:
        models = [part for name in names for part in ("--model", name)]
        answers = run_cli("predict", str(fasta), *models)
        assert answers.exit_code == 0, answers.err
        cells = [line.split("\t") for line in answers.out.splitlines()]
        first = cells[0].index("p_poor")
        return np.array([[float(cell) for cell in row[first : first + 2]] for row in cells[1:]])

    members = [probabilities(f"gc-seed-{seed}") for seed in (0, 1)]
    assert not np.allclose(members[0], members[1], equal_nan=True)
    together = probabilities("gc-seed-0", "gc-seed-1")
    np.testing.assert_allclose(together, np.mean(members, axis=0), atol=2e-4)
    root = run_cli("cache", "path").out.strip()
    for name in ("gc-seed-0", f"{root}/weights/gc-seed-0"):
        assert_failure(
            run_cli("predict", str(fasta), "--model", "gc-seed-0", "--model", name),
            "a model is given twice",
            exit_code=2,
        )
