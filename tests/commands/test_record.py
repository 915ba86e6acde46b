"""`--record`: an RO-Crate and the versions of a run, for machines."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.models import CORPUS, RELEASED, RUN

TINY = (
    *("--context", "64", "--batch-size", "4", "--device", "cpu", "--threads", "1"),
    *("--set", "model.width=16", "--set", "model.depth=1", "--set", "model.num_heads=2"),
    *("--set", "model.mlp_width=32", "--set", "training.validation_windows=4"),
)
pytestmark = pytest.mark.usefixtures("trained")


def crate(path: Path) -> dict[str, dict[str, Any]]:
    """Return the entities of a crate; every reference has its entity."""
    graph = json.loads(path.read_text(encoding="utf-8"))["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    assert len(entities) == len(graph)
    references = [
        reference["@id"]
        for entity in graph
        for value in entity.values()
        for reference in (value if isinstance(value, list) else [value])
        if isinstance(reference, dict)
    ]
    assert {name for name in references if not name.startswith("https://w3id.org/ro/crate")} <= set(
        entities
    )
    return entities


def test_a_crate_names_inputs_model_and_outputs(run_cli: RunCommand, tmp_path: Path) -> None:
    sequences, out = tmp_path / "my sequences.fa", tmp_path / "out" / "scores.tsv"
    sequences.write_text(">a\nACGTACGTAA\n")
    record, versions = out.parent / "ro-crate-metadata.json", tmp_path / "versions.yml"
    done = run_cli(
        *("--record", str(record), "--record", str(versions), "--quiet"),
        *("score", str(sequences), "--model", RELEASED, "-o", str(out)),
    )
    assert done.exit_code == 0, done.err
    entities = crate(record)
    run = entities["#run"]
    assert run["name"].startswith("genomeformer --record")
    assert run["actionStatus"].endswith("/CompletedActionStatus")
    assert run["startTime"] <= run["endTime"]
    assert run["result"] == [{"@id": "scores.tsv"}]
    for name, path in (("scores.tsv", out), (sequences.as_uri(), sequences)):
        assert entities[name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert entities[name]["contentSize"] == str(path.stat().st_size)
    used = [entities[part["@id"]] for part in run["object"]]
    assert [entity["@type"] for entity in used] == ["File", "Dataset"]
    assert {entities[part["@id"]]["name"] for part in used[1]["hasPart"]} == {
        "config.json",
        "model.safetensors",
    }
    torch = f'    torch: "{version("torch")}"'
    lines = versions.read_text().splitlines()
    assert lines[0] == '"genomeformer score":'
    assert torch in lines


def test_piped_inputs_and_failures_are_recorded(run_cli: RunCommand, tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    command = ("--record", str(record), "score", "-", "--model", RELEASED)
    assert run_cli(*command, stdin=b">a\nACGT\n").exit_code == 0
    entities = crate(record)
    assert entities["#run"]["object"][0] == {"@id": "#standard-input"}
    assert entities["#run"]["result"] == []
    assert run_cli(*command, stdin=b">a\nAC!T\n").exit_code != 0
    assert crate(record)["#run"]["actionStatus"].endswith("/FailedActionStatus")
    # A later run without a record writes none.
    record.unlink()
    assert run_cli("score", "-", "--model", RELEASED, stdin=b">a\nACGT\n").exit_code == 0
    assert not record.exists()


def test_cached_genomes_are_files_and_pipes_are_names(
    run_cli: RunCommand, trained: Path, tmp_path: Path
) -> None:
    record, pipe = tmp_path / "run.json", tmp_path / "pipe"
    source = ("--genome", "NC_001422.1", "--tile", "1000", "-o", str(tmp_path / "x.npy"))
    done = run_cli("--record", str(record), "embed", *source, "--model", RUN)
    assert done.exit_code == 0, done.err
    entities = crate(record)
    genome, model = entities["#run"]["object"]
    assert genome["@id"].endswith("/genomes/NC_001422.1/NC_001422.1.fa.gz")
    assert "/runs/run/" in model["@id"]
    assert entities["#run"]["result"] == [{"@id": "x.npy"}, {"@id": "x.npy.json"}]
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(">a\nACGT\n",))
    writer.start()
    done = run_cli("--record", str(record), "score", str(pipe), "--model", RUN)
    writer.join()
    assert done.exit_code == 0, done.err
    assert crate(record)["#run"]["object"][0] == {"@id": f"#{pipe}"}


WRITING = {
    "fetch": (("fetch", "--sample"), [], ["genomes/NC_000908.2/"]),
    "tokenize": (
        ("tokenize", "--genome", "NC_001422.1", "--name", "c", "--tokenizer", "kmer"),
        ["genomes/NC_001422.1/NC_001422.1.fa.gz"],
        ["corpora/c/", "vocabularies/"],
    ),
    "pretrain": (
        ("pretrain", "--corpus", CORPUS, "--name", "r", "--steps", "1", *TINY),
        [f"corpora/{CORPUS}/"],
        ["runs/r/"],
    ),
    "release": (
        ("release", RUN, "--name", "b", "-o", "OUT"),
        [f"runs/{RUN}/checkpoints/step-00000004/"],
        ["OUT/", "weights/b/"],
    ),
    "finetune": (
        ("finetune", "TABLE", "--model", RUN, "--name", "f", "--method", "head", "--epochs", "1"),
        ["TABLE", f"runs/{RUN}/checkpoints/step-00000004/"],
        ["runs/f/", "weights/f/"],
    ),
    "compare": (
        ("compare", CORPUS, "--name", "m", "--attention", "softmax", "--tokens", "1k", *TINY),
        [f"corpora/{CORPUS}/"],
        ["comparisons/m/"],
    ),
    "evaluate": (
        ("evaluate", RUN, "-o", "OUT", "--set", "prediction.windows=4"),
        [f"corpora/{CORPUS}/", f"runs/{RUN}/checkpoints/step-00000004/"],
        ["OUT/"],
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        *("fetch", "tokenize", "pretrain", "release"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("finetune", "compare", "evaluate")
        ),
    ],
)
@pytest.mark.usefixtures("one_process", "short_networks")
def test_entries_of_the_cache_are_recorded(
    name: str, run_cli: RunCommand, trained: Path, tmp_path: Path
) -> None:
    """Every command that writes names what it read and wrote, each folder as a whole."""
    table, record = tmp_path / "table.csv", tmp_path / "record.json"
    rows = [f"{'ACGT' * 5}{'AC'[n % 2] * 20},{'xy'[n % 2]}\n" for n in range(24)]
    table.write_text("sequence,label\n" + "".join(rows))
    places = {"OUT": str(tmp_path / "out"), "TABLE": str(table)}
    command, inputs, outputs = WRITING[name]
    words = [places.get(word, word) for word in command]
    done = run_cli("--record", str(record), *words)
    assert done.exit_code == 0, done.err
    entities = crate(record)
    for key, expected in (("object", inputs), ("result", outputs)):
        found = [str(reference["@id"]) for reference in entities["#run"][key]]
        for path in expected:
            ending = places.get(path.rstrip("/"), path).removeprefix(f"{tmp_path}/")
            assert any(ending in identity for identity in found), (path, found)
        assert not [identity for identity in found if ".tmp" in identity]
        names = [identity for identity in found if identity.endswith("/")]
        assert not [
            part for part in found for folder in names if part != folder and part.startswith(folder)
        ]
    for identity, entity in entities.items():
        if "sha256" in entity and identity.startswith("file://"):
            content = Path(unquote(urlsplit(identity).path)).read_bytes()
            assert entity["sha256"] == hashlib.sha256(content).hexdigest()


def test_records_that_cannot_be_written(run_cli: RunCommand, tmp_path: Path) -> None:
    done = run_cli("--record", str(tmp_path / "run.txt"), "models")
    assert_failure(done, "unknown suffix", hint="versions.yml", exit_code=2)
    (tmp_path / "x.json").mkdir()
    done = run_cli("--record", str(tmp_path / "x.json"), "models")
    assert_failure(done, "not an ordinary file")
