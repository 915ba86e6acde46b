"""Folders of models that once gave an unclear message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.published_folders import write_published


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_published("hyenadna", tmp_path / "model")


def test_tensors_that_share_bytes(run_cli: RunCommand, folder: Path) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    places = sorted((key for key in header if key != "__metadata__"), key=lambda k: str(header[k]))
    start, end = header[places[0]]["data_offsets"]
    header[places[1]] = {**header[places[0]], "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    done = run_cli("models", "--verify", str(folder))
    assert_failure(done, "share bytes of the file", hint="damaged")


@pytest.mark.parametrize("target", ["../blobs/absent", "model.safetensors"])
def test_links_that_lead_nowhere(run_cli: RunCommand, folder: Path, target: str) -> None:
    path = folder / "model.safetensors"
    path.unlink()
    path.symlink_to(target)
    done = run_cli("models", "--verify", str(folder))
    assert_failure(done, "links to files that do not exist: `model.safetensors`", hint="cp -L")


def test_links_to_files_are_read(run_cli: RunCommand, folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in folder.iterdir():
        (linked / path.name).symlink_to(path)
    outputs = [run_cli("models", "--verify", str(place), "--json") for place in (folder, linked)]
    checksums = [json.loads(done.out)["result"]["checksum"] for done in outputs]
    assert checksums[0] == checksums[1]


@pytest.mark.parametrize("name", ["folder", "DNA_bert_6", "hf://zhihan1996/DNA_bert_6"])
def test_a_model_of_other_authors_is_no_run(run_cli: RunCommand, folder: Path, name: str) -> None:
    done = run_cli("release", str(folder) if name == "folder" else name)
    assert_failure(done, "is a model of other authors", hint="finetune DATA --model", exit_code=2)
