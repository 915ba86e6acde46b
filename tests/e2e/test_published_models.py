"""Models of other authors from a Hub on the loopback address, through every command."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tests.cli import Finished, RunCommand
from tests.corpora import random_dna
from tests.failures import assert_failure
from tests.mini_hub import TOKEN, Hub, Repository
from tests.published_folders import FOLDERS, pickle_weights, write_published

pytest.importorskip("transformers")

# Longer than most contexts, with N, lower case, one base, and nothing.
RECORDS = {
    "long": random_dna(150, 1),
    "short": "ACGTTGCA",
    "gaps": "ACGTNNNNRYACGTACGTTTGA",
    "lower": "acgttgcaacgtuuga",
    "one": "G",
    "unknown": "NNNN",
    "empty": "",
}
FASTA = "".join(f">{name}\n{letters}\n" for name, letters in RECORDS.items()).encode()
CPU = ("--device", "cpu")
PIECES = (
    *("bert of byte pairs", "modernbert", "dnabert2", "gena-lm"),
    *("mistral", "mixtral", "gpt2", "mamba"),
)
ONE_OF_EACH_CUT = (
    "dnabert",
    "nucleotide-transformer-v2",
    "dnabert2",
    "hyenadna",
    "caduceus-ps",
    "gpn",
)
# Vocabularies without single bases: a record of one base has no token.
WITHOUT_BASES = ("dnabert", "llama of k-mers", "prokbert")


def by_default(*names: str) -> list[Any]:
    """Return all families; those that are not named are slow."""
    slow = pytest.mark.slow
    return [name if name in names else pytest.param(name, marks=slow) for name in FOLDERS]


def publish(hub: Hub, folder: Path, name: str) -> str:
    """Put the files of a folder into a repository, with code that must not be fetched."""
    files = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
    repository = Repository(private=False)
    hub.repositories[f"org/{name}"] = repository
    return repository.commit({**files, "modeling_x.py": b"1 / 0", "README.md": b"# A model\n"})


def shard_weights(folder: Path) -> None:
    """Replace the safetensors of a folder by two shards and their index."""
    tensors = load_file(folder / "model.safetensors")
    places: dict[str, str] = {}
    for number in (1, 2):
        name = f"model-{number:05d}-of-00002.safetensors"
        shard = {key: tensors[key] for key in sorted(tensors)[number - 1 :: 2]}
        save_file(shard, folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, name)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()


def succeed(done: Finished) -> Finished:
    assert done.exit_code == 0, done.err
    return done


@pytest.mark.parametrize("name", by_default(*ONE_OF_EACH_CUT))
def test_vectors_come_from_the_hub_and_again_offline(
    name: str, run_cli: RunCommand, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_published(name, tmp_path / "model")
    local = succeed(run_cli("embed", "-", "--model", str(folder), *CPU, stdin=FASTA))
    change = (lambda _: None, shard_weights, pickle_weights)[list(FOLDERS).index(name) % 3]
    change(folder)
    commit = publish(hub, folder, "model")
    line = ("embed", "-", "--model", "hf://org/model", *CPU)
    fetched = succeed(run_cli(*line, stdin=FASTA))
    assert fetched.stdout == local.stdout
    assert f"hf://org/model@{commit}#" in fetched.err
    assert not [request for request in hub.asked if "modeling_x" in request]
    rows = np.load(io.BytesIO(fetched.stdout))
    finite = np.isfinite(rows).all(axis=1)
    missing = ["unknown", "empty", *(["one"] if name in WITHOUT_BASES else [])]
    assert {record for record, is_finite in zip(RECORDS, finite, strict=True) if not is_finite} == {
        *missing
    }
    assert ("record `one` holds no whole token" in fetched.err) == (name in WITHOUT_BASES)
    assert np.unique(rows[finite].round(4), axis=0).shape[0] == finite.sum()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    before = len(hub.asked)
    offline = succeed(run_cli(*line, stdin=FASTA))
    assert offline.stdout == fetched.stdout
    assert hub.asked[before:] == []
    assert TOKEN not in fetched.err + offline.err


@pytest.mark.parametrize("name", by_default(*ONE_OF_EACH_CUT))
def test_every_output_of_embed_and_score(name: str, run_cli: RunCommand, tmp_path: Path) -> None:
    folder = str(write_published(name, tmp_path / "model"))
    alone = succeed(
        run_cli("embed", "-", "--model", folder, *CPU, stdin=f">a\n{RECORDS['short']}\n".encode())
    )
    line = ("embed", "-", "--model", folder, *CPU)
    rows = np.load(io.BytesIO(succeed(run_cli(*line, stdin=FASTA)).stdout))
    np.testing.assert_allclose(np.load(io.BytesIO(alone.stdout))[0], rows[1], atol=2e-5)
    lower = f">a\n{RECORDS['short'].lower()}\n".encode()
    np.testing.assert_array_equal(
        np.load(io.BytesIO(succeed(run_cli(*line, stdin=lower)).stdout)),
        np.load(io.BytesIO(alone.stdout)),
    )
    both = run_cli(*line, "--set", "rows.rc=concat", "--set", "rows.layers=1,2", stdin=FASTA)
    assert np.load(io.BytesIO(succeed(both).stdout)).shape[0] == len(RECORDS)
    out = tmp_path / "bases.npy"
    succeed(run_cli(*line, "--pool", "none", "-o", str(out), stdin=FASTA))
    assert len(np.load(out)) == sum(map(len, RECORDS.values()))
    scores = run_cli("score", "-", "--model", folder, *CPU, stdin=FASTA)
    table = [line.split("\t") for line in succeed(scores).out.splitlines()]
    assert [row[0] for row in table[1:]] == list(RECORDS)
    assert float(table[1][4]) > 0
    genome = tmp_path / "genome.fa"
    genome.write_text(f">c\n{RECORDS['long']}\n")
    vcf = tmp_path / "v.vcf"
    letters = RECORDS["long"]
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}
    rows_of_vcf = [
        f"c\t{place + 1}\t.\t{letters[place]}\t{other[letters[place]]}" for place in (0, 70, 149)
    ]
    vcf.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n" + "\n".join(rows_of_vcf))
    variants = run_cli("score", "--vcf", str(vcf), "--genome", str(genome), "--model", folder, *CPU)
    values = [line.split("\t") for line in succeed(variants).out.splitlines()][1:]
    assert len(values) == 3
    assert np.isfinite([float(cell) for cell in values[1][5:7]]).all(), values
    bases = run_cli(
        "score", "-", "--model", folder, *CPU, "--per-base", str(tmp_path / "b.tsv"), stdin=FASTA
    )
    if name in PIECES:
        assert_failure(
            bases, "probabilities of tokens, not of bases", hint="single bases", exit_code=2
        )
    else:
        succeed(bases)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    rows = ["id\tsequence\tkind"]
    for number in range(40):
        letters = random_dna(30, number)
        rich = sum(letter in "GC" for letter in letters) > 15
        rows.append(f"s{number}\t{letters}\t{'rich' if rich else 'poor'}")
    path = tmp_path / "gc.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.usefixtures("one_process", "short_networks")
@pytest.mark.parametrize("name", by_default(*ONE_OF_EACH_CUT))
def test_fine_tuned_models_predict_and_are_released(
    name: str, run_cli: RunCommand, tmp_path: Path, labelled: Path
) -> None:
    folder = str(write_published(name, tmp_path / "model"))
    method = ("full", "head", "lora")[list(FOLDERS).index(name) % 3]
    options = ("--method", method, "--epochs", "1", "--target", "kind", "--name", "tuned")
    bundle = tmp_path / "bundle"
    output = ("--output", str(bundle))
    succeed(run_cli("finetune", str(labelled), "--model", folder, *options, *output, *CPU))
    first = succeed(run_cli("predict", "-", "--model", "tuned", *CPU, stdin=FASTA))
    assert len(first.out.splitlines()) == len(RECORDS) + 1
    again = succeed(run_cli("predict", "-", "--model", str(bundle), *CPU, stdin=FASTA))
    assert again.out == first.out
    succeed(run_cli("embed", "-", "--model", str(bundle), *CPU, stdin=FASTA))
    succeed(run_cli("release", "--verify", str(bundle)))


@pytest.mark.parametrize("name", by_default("hyenadna", "dnabert2"))
def test_probes_stand_beside_the_random_twin(
    name: str, run_cli: RunCommand, tmp_path: Path, labelled: Path
) -> None:
    folder = str(write_published(name, tmp_path / "model"))
    options = (
        "--no-likelihood",
        "--task",
        str(labelled),
        "--label",
        "kind",
        "--json",
        "-o",
        str(tmp_path / "out"),
    )
    done = succeed(run_cli("evaluate", folder, *options, *CPU))
    assert "random" in done.out
