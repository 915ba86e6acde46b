"""Small runs of `pretrain` from the command line: settings, corpus, first arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli import RunCommand

SMALL_MODEL = """
[model]
context = 64
width = 16
depth = 1
num_heads = 2
mlp_width = 24
"""
SMALL = f"""{SMALL_MODEL}
[training]
steps = 4
batch_size = 2
validate_every = 2
validation_windows = 8
"""
BASE = ["pretrain", "--threads", "1", "--device", "cpu"]


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return str(path)


def corpus(run_cli: RunCommand, name: str, *tokenizer: str) -> None:
    assert run_cli("fetch", "--sample").exit_code == 0
    arguments = ["tokenize", "--genome", "NC_001422.1", "--split", "tail", "--name", name]
    done = run_cli(*arguments, *tokenizer)
    assert done.exit_code == 0, done.err
