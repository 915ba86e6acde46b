"""`--record`: an RO-Crate and the versions of a run, for machines."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.models import RELEASED

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


def test_records_that_cannot_be_written(run_cli: RunCommand, tmp_path: Path) -> None:
    done = run_cli("--record", str(tmp_path / "run.txt"), "models")
    assert_failure(done, "unknown suffix", hint="versions.yml", exit_code=2)
    (tmp_path / "x.json").mkdir()
    done = run_cli("--record", str(tmp_path / "x.json"), "models")
    assert_failure(done, "not an ordinary file")
