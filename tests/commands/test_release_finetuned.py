"""Release of fine-tuned models: verify, pack, push and fetch, with base model and licence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.files import everything_in, flip_a_byte
from tests.mini_hub import Hub, Repository
from tests.models import RELEASED, RUN
from tests.published_folders import write_published

pytestmark = [
    pytest.mark.usefixtures("one_process", "short_networks"),
    # The Hub's client sends files by an argument that its HTTP library renamed.
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]

QUICK = ["--threads", "1", "--device", "cpu", "--epochs", "1", "--method", "head"]
QUICK += ["--set", "network=off"]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    lines = ["sequence\tlabel"]
    for number in range(24):
        label = "rich" if number % 2 else "poor"
        lines.append(f"{random_dna(20 + number, number)}\t{label}")
    path = tmp_path / "gc.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "x.fa"
    path.write_text(">a\nACGTACGTTTGACA\n>n\nNNNN\n>b\nGGGNCC\n")
    return path


def tune(run_cli: RunCommand, rows: Path, model: str, output: Path) -> str:
    line = ["finetune", str(rows), "--model", model, "--name", "gc", "-o", str(output), *QUICK]
    done = run_cli(*line)
    assert done.exit_code == 0, done.err
    return done.out + done.err


def predict(run_cli: RunCommand, model: str, fasta: Path) -> str:
    done = run_cli("predict", str(fasta), "--model", model, "--workers", "1")
    assert done.exit_code == 0, done.err
    return done.out


def put_on_hub(hub: Hub, name: str, folder: Path, *, card: str | None = None) -> str:
    repository = hub.repositories[name] = Repository(private=False)
    files = {
        file.name: file.read_bytes()
        for file in folder.iterdir()
        if file.name in ("config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json")
    }
    if card is not None:
        files["README.md"] = card.encode()
    return repository.commit(files)


@pytest.mark.usefixtures("trained")
def test_a_finetuned_bundle_is_verified_packed_pushed_and_fetched(
    run_cli: RunCommand, rows: Path, fasta: Path, tmp_path: Path, hub: Hub
) -> None:
    bundle, archive, copy = (tmp_path / name for name in ("bundle", "gc.tar.gz", "copy"))
    tune(run_cli, rows, RELEASED, bundle)
    expected = predict(run_cli, str(bundle), fasta)
    done = run_cli("release", "--verify", str(bundle), "--json")
    assert done.exit_code == 0, done.err
    assert json.loads(done.out)["num_files"] == len(everything_in(bundle)) - 1
    assert_failure(run_cli("release", "gc"), "is a fine-tuning", hint="weights/gc", exit_code=2)
    done = run_cli("release", "weights/gc", "-o", str(copy), "--archive", str(archive))
    assert done.exit_code == 0, done.err
    assert everything_in(copy) == everything_in(bundle)
    assert predict(run_cli, str(archive), fasta) == expected
    done = run_cli("release", str(bundle), "--push", "org/gc", "--json")
    assert done.exit_code == 0, done.err
    address = json.loads(done.out)["pushed"]["address"]
    assert hub.files("org/gc").keys() - everything_in(bundle).keys() == {".gitattributes"}
    assert predict(run_cli, address, fasta) == expected
    done = run_cli("release", "--verify", address)
    assert done.exit_code == 0, done.err
    base = json.loads((bundle / "config.json").read_text())["base"]
    assert (base["address"], base["family"]) == (RELEASED, "genomeformer-encoder")
    assert (base["licence"], base["is_own"]) == ("apache-2.0", True)
    assert 'license: "apache-2.0"' in (bundle / "README.md").read_text()
    assert "Apache License" in (bundle / "LICENSE").read_text()


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("name", ["head.safetensors", "LICENSE", "eval_results.json"])
def test_a_finetuned_bundle_without_a_file_is_refused(
    run_cli: RunCommand, rows: Path, tmp_path: Path, name: str
) -> None:
    bundle = tmp_path / "bundle"
    tune(run_cli, rows, RUN, bundle)
    flip_a_byte(bundle / name)
    assert_failure(run_cli("release", "--verify", str(bundle)), name, hint="restore")
    (bundle / name).unlink()
    done = run_cli("release", str(bundle), "--archive", str(tmp_path / "x.tar.gz"))
    assert_failure(done, name, hint="")
    assert not (tmp_path / "x.tar.gz").exists()


def test_the_licence_of_another_authors_model_is_carried_over(
    run_cli: RunCommand, rows: Path, fasta: Path, tmp_path: Path, hub: Hub
) -> None:
    source = published_esm(tmp_path)
    commit = put_on_hub(hub, "lab/nt", source, card="---\nlicense: cc-by-nc-sa-4.0\n---\n# nt\n")
    bundle = tmp_path / "bundle"
    said = tune(run_cli, rows, "hf://lab/nt", bundle)
    assert "allows no commercial use" in said
    base = json.loads((bundle / "config.json").read_text())["base"]
    assert base["address"].startswith(f"hf://lab/nt@{commit}#")
    assert (base["family"], base["commit"]) == ("nucleotide-transformer-v2", commit)
    card = (bundle / "README.md").read_text()
    for text in (
        'license: "cc-by-nc-sa-4.0"',
        'base_model: "lab/nt"',
        "**Non-commercial use only.**",
        f"`{base['address']}`",
        f"commit `{commit}`",
    ):
        assert text in card
    notice = (bundle / "LICENSE").read_text()
    assert "https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode" in notice
    done = run_cli("release", str(bundle), "--license", "mit", "-o", str(tmp_path / "mit"))
    assert_failure(done, "cc-by-nc-sa-4.0", hint="leave `--license` out", exit_code=2)
    done = run_cli("release", str(bundle), "--push", "org/gc", "--json")
    assert done.exit_code == 0, done.err
    assert run_cli("release", "--verify", "hf://org/gc").exit_code == 0
    assert predict(run_cli, "hf://org/gc", fasta) == predict(run_cli, str(bundle), fasta)
    # Fine-tuned again: the licence and the family are still those of the first base.
    line = ["finetune", str(rows), "--model", "hf://org/gc", "--name", "again", *QUICK, "--json"]
    done = run_cli(*line)
    assert done.exit_code == 0, done.err
    result = json.loads(done.out)
    assert result["summary"]["licence"] == "cc-by-nc-sa-4.0"
    again = json.loads((Path(result["folder"]) / "config.json").read_text())["base"]
    assert (again["family"], again["is_own"]) == ("nucleotide-transformer-v2", False)
    assert again["address"].startswith("hf://org/gc@")


def test_a_model_of_unknown_licence_is_shared_only_once_the_licence_is_stated(
    run_cli: RunCommand, rows: Path, tmp_path: Path, hub: Hub
) -> None:
    bundle, stated = tmp_path / "bundle", tmp_path / "stated"
    said = tune(run_cli, rows, str(published_esm(tmp_path)), bundle)
    assert "licence" in said
    assert "not known" in said
    assert "**Licence not known.**" in (bundle / "README.md").read_text()
    for line in (["--push", "org/gc"], ["--archive", str(tmp_path / "x.tar.gz")]):
        done = run_cli("release", str(bundle), *line)
        assert_failure(done, "not known", hint="--license ID", exit_code=2)
    assert hub.repositories == {}
    done = run_cli("release", str(bundle), "--license", "cc-by-nc-4.0")
    assert_failure(done, "not changed in place", hint="-o FOLDER", exit_code=2)
    done = run_cli("release", str(bundle), "--license", "mit", "-o", str(stated))
    assert_failure(done, "`mit`", hint="--license-file", exit_code=2)
    done = run_cli("release", str(bundle), "--license", "CC-BY-NC-4.0", "-o", str(stated))
    assert done.exit_code == 0, done.err
    card = (stated / "README.md").read_text()
    assert 'license: "cc-by-nc-4.0"' in card
    assert "license_name" not in card
    assert "not known" not in card
    assert card.index("**Non-commercial use only.**") < card.index("## Limits")
    assert "by-nc/4.0" in (stated / "LICENSE").read_text()
    assert run_cli("release", "--verify", str(stated)).exit_code == 0
    done = run_cli("release", str(stated), "--push", "org/gc")
    assert done.exit_code == 0, done.err
    text = tmp_path / "text"
    text.write_text("Permission is granted.\n")
    free = tmp_path / "free"
    line = ["--license", "mit", "--license-file", str(text), "-o", str(free)]
    done = run_cli("release", str(bundle), *line)
    assert done.exit_code == 0, done.err
    assert (free / "LICENSE").read_text() == text.read_text()


def published_esm(tmp_path: Path) -> Path:
    """Return a tiny Nucleotide Transformer in the layout of its authors."""
    return write_published("nucleotide-transformer-v2", tmp_path / "nt")
