"""`release`: bundles, their cards and their contents."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.files import everything_in, fill_the_disk, flip_a_byte, names_in
from tests.models import RELEASED, RUN

BUNDLE = [
    "CITATION.cff",
    "LICENSE",
    "README.md",
    "SHA256SUMS",
    "config.json",
    "eval_results.json",
    "genomes.lock.jsonl",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "train_config.toml",
]


@pytest.fixture
def unreleased(trained: Path) -> Path:
    """The trained cache without its released model."""
    shutil.rmtree(trained / "weights")
    return trained


@pytest.fixture
def home(unreleased: Path, one_process: None) -> Path:
    """The trained cache without its released model; releases start no fresh process."""
    del one_process
    return unreleased


def test_a_bundle_is_written_installed_and_the_same_in_both_places(
    run_cli: RunCommand, unreleased: Path, tmp_path: Path
) -> None:
    output = tmp_path / "deep" / "bundle"
    done = run_cli("release", RUN, "--name", "mine", "-o", str(output), "--json")
    assert done.exit_code == 0, done.err
    result = json.loads(done.out)
    assert (result["name"], result["folder"]) == ("mine", str(output))
    assert result["largest_difference"] <= 1e-5
    assert names_in(output) == BUNDLE
    assert everything_in(output) == everything_in(unreleased / "weights" / "mine")
    assert run_cli("cache", "verify", "weights/mine").exit_code == 0
    weights = unreleased / "runs" / RUN / "checkpoints" / "step-00000004" / "model.safetensors"
    trained, released = load_file(weights), load_file(output / "model.safetensors")
    assert trained.keys() == released.keys()
    assert all(torch.equal(trained[name], released[name]) for name in trained)


def test_a_bundle_names_its_recommended_layers(
    run_cli: RunCommand, home: Path, tmp_path: Path
) -> None:
    promoters = tmp_path / "promoters.fa"
    promoters.write_text(">one\nACGTTGCAACGT\n>two\nTTGACATATAAT\n")
    assert run_cli("release", RUN, "--name", "mine", "--layers", "0").exit_code == 0
    folder = home / "weights" / "mine"
    assert json.loads((folder / "config.json").read_text())["embedding"] == {"layers": "0"}
    assert "`--set rows.layers=0`" in (folder / "README.md").read_text()
    by_itself = run_cli("embed", str(promoters), "--model", "mine")
    asked = run_cli("embed", str(promoters), "--model", "mine", "--set", "rows.layers=0")
    last = run_cli("embed", str(promoters), "--model", "mine", "--set", "rows.layers=last")
    assert by_itself.stdout == asked.stdout != last.stdout
    refused = run_cli("release", RUN, "--name", "other", "--layers", "99")
    assert_failure(refused, "the model has layers 0 to", exit_code=2)
    copied = run_cli("release", str(folder), "-o", str(tmp_path / "copy"), "--layers", "0")
    assert_failure(copied, "is a bundle already", exit_code=2)


def test_a_bundle_names_its_recommended_vectors(
    run_cli: RunCommand, home: Path, tmp_path: Path
) -> None:
    promoters = tmp_path / "promoters.fa"
    promoters.write_text(">one\nACGTTGCAACGT\n>two\nTTGACATATAAT\n")
    given = ("--layers", "1", "--layers", "auto=0,1:moments", "--layers", "placed=0:bins")
    assert run_cli("release", RUN, "--name", "rules", *given).exit_code == 0
    folder = home / "weights" / "rules"
    assert json.loads((folder / "config.json").read_text())["embedding"] == {
        "layers": "1",
        "rules": {
            "auto": {"layers": "0,1", "pool": "moments"},
            "placed": {"layers": "0", "pool": "bins"},
        },
    }
    card = (folder / "README.md").read_text()
    assert "`--pool moments`" in card
    assert "`--pool auto:placed`: layers 0, pooling `bins`" in card

    def embed(*options: str) -> bytes:
        return run_cli("embed", str(promoters), "--model", "rules", *options).stdout

    pairs = [
        ((), ("--pool", "moments", "--set", "rows.layers=0,1")),
        (("--pool", "auto:placed"), ("--pool", "bins", "--set", "rows.layers=0")),
        (("--pool", "mean"), ("--pool", "mean", "--set", "rows.layers=1")),
    ]
    for recommended, explicit in pairs:
        assert embed(*recommended) == embed(*explicit)
    missing = run_cli("embed", str(promoters), "--model", "rules", "--pool", "auto:motif")
    assert_failure(missing, "recommends no pooling `auto:motif`", exit_code=2)
    for wrong, words in {
        "nowhere=1:bins": "invalid or repeated recommendation",
        "placed=1": "invalid or repeated recommendation",
        "auto=99:mean": "the model has layers 0 to",
        "auto=1:median": "unknown pooling `median`",
        "auto=1:none": "unknown pooling `none`",
    }.items():
        refused = run_cli("release", RUN, "--name", "other", "--layers", wrong)
        assert_failure(refused, words, exit_code=2)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_coreutils_verify_a_bundle(run_cli: RunCommand, home: Path, tmp_path: Path) -> None:
    output = tmp_path / "bundle"
    assert run_cli("release", RUN, "-o", str(output)).exit_code == 0
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=output, check=True)


def test_two_releases_give_the_same_bytes(run_cli: RunCommand, home: Path) -> None:
    run_cli("release", RUN)
    first = everything_in(home / "weights")
    assert run_cli("release", RUN, "--replace").exit_code == 0
    assert everything_in(home / "weights") == first
    assert names_in(home / "weights") == [RUN]


def test_the_card_quotes_the_run_and_its_genomes(run_cli: RunCommand, home: Path) -> None:
    run_cli("release", RUN, "--name", "mine")
    card = (home / "weights" / "mine" / "README.md").read_text(encoding="utf-8")
    summary = json.loads((home / "runs" / RUN / "summary.json").read_text(encoding="utf-8"))
    for score in ("model", "counts", "random_twin"):
        assert f"{summary[score]['bits_per_base']:.4f}" in card
        assert f"{summary[score]['accuracy']:.1%}" in card
    assert "NC_001422.1 | Escherichia phage phiX174 | 10847 | 5,386 |" in card
    assert "NCBI places no restriction" in card
    assert card.startswith('---\nlicense: "apache-2.0"\n')
    assert "--model mine" in card
    results = json.loads((home / "weights/mine/eval_results.json").read_text(encoding="utf-8"))
    assert results["run"] == summary
    assert results["corpus"] == "phage"
    (row,) = (home / "weights/mine/genomes.lock.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(row)["accession"] == "NC_001422.1"


def test_a_released_run_can_be_trained_again_from_its_configuration(
    run_cli: RunCommand, home: Path
) -> None:
    run_cli("release", RUN)
    config = home / "weights" / RUN / "train_config.toml"
    line = ["--corpus", "phage", "--name", "again", "--config", str(config), "--device", "cpu"]
    done = run_cli("pretrain", *line, "--threads", "1", "--json")
    assert done.exit_code == 0, done.err
    for file in ("metrics.jsonl", "config.toml", "baseline.json"):
        again = (home / "runs" / "again" / file).read_bytes()
        assert again == (home / "runs" / RUN / file).read_bytes()


@pytest.mark.usefixtures("one_process")
def test_a_taken_name_is_refused(run_cli: RunCommand, trained: Path) -> None:
    before = everything_in(trained)
    done = run_cli("release", RUN, "--name", RELEASED, "--author", "A. Nother")
    assert_failure(done, f"`{RELEASED}`", hint=f"weights/{RELEASED}")
    assert everything_in(trained) == before


def test_a_folder_that_holds_something_is_left_alone(
    run_cli: RunCommand, home: Path, tmp_path: Path
) -> None:
    output = tmp_path / "bundle"
    output.mkdir()
    (output / "precious").write_bytes(b"data")
    for place in (output, output / "precious"):
        done = run_cli("release", RUN, "-o", str(place))
        assert_failure(done, "not an empty folder", hint="-o")
    assert everything_in(output) == {"precious": b"data"}
    assert not (home / "weights").exists()


def test_an_empty_folder_may_be_filled(run_cli: RunCommand, home: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    assert run_cli("release", RUN, "-o", str(tmp_path / "bundle")).exit_code == 0
    assert names_in(tmp_path / "bundle") == BUNDLE


def test_an_unknown_run_is_named_beside_the_known(run_cli: RunCommand, home: Path) -> None:
    assert_failure(run_cli("release", "nothing"), "`nothing`", hint=f"`{RUN}`")


def test_an_unfinished_run_is_not_released(run_cli: RunCommand, home: Path) -> None:
    (home / "runs" / RUN / "summary.json").unlink()
    assert_failure(run_cli("release", RUN), "not finished", hint="pretrain")
    assert not (home / "weights").exists()


def test_a_run_whose_checkpoints_are_all_damaged_is_not_released(
    run_cli: RunCommand, home: Path
) -> None:
    for step in ("step-00000002", "step-00000004"):
        flip_a_byte(home / "runs" / RUN / "checkpoints" / step / "model.safetensors")
    assert_failure(run_cli("release", RUN), "every checkpoint", hint="train again")
    assert not (home / "weights").exists()


def test_a_full_disk_leaves_nothing(
    run_cli: RunCommand, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything_in(home)
    fill_the_disk(monkeypatch)
    done = run_cli("release", RUN, "-o", str(tmp_path / "bundle"))
    assert_failure(done, "No space left on device", hint="no partial file")
    assert everything_in(home) == before
    assert names_in(home / "weights") == []
    assert not (tmp_path / "bundle").exists()


def test_the_same_release_again_completes_what_a_kill_left(
    run_cli: RunCommand, tmp_path: Path, home: Path
) -> None:
    output = tmp_path / "bundle"
    line = ("release", RUN, "--name", "again", "-o", str(output))
    assert run_cli(*line).exit_code == 0
    expected = everything_in(output)
    shutil.rmtree(output)
    for _ in range(2):
        done = run_cli(*line)
        assert done.exit_code == 0, done.err
        assert everything_in(output) == expected
    other = (*line, "--author", "A. Nother")
    assert_failure(run_cli(*other), "already has", hint="another name")
    assert everything_in(output) == expected
    replaced = run_cli(*other, "--replace")
    assert replaced.exit_code == 0, replaced.err
    assert b"Nother" in (output / "CITATION.cff").read_bytes()
    (output / "mine.txt").write_bytes(b"x")
    (output / "SHA256SUMS").unlink()
    assert_failure(run_cli(*other, "--replace"), "not an empty folder", hint="--replace")
    assert (output / "mine.txt").is_file()


def test_a_damaged_model_does_not_count_as_released(run_cli: RunCommand, home: Path) -> None:
    line = ("release", RUN, "--name", "again")
    assert run_cli(*line).exit_code == 0
    flip_a_byte(home / "weights" / "again" / "model.safetensors")
    assert_failure(run_cli(*line), "model.safetensors", "checksum")
