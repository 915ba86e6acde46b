"""Declarations of input formats: complete, and true of the command line and of the readers."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from genomeformer_cli.app import app

ROOT = Path(__file__).parents[2]
FORMATS: list[dict[str, Any]] = tomllib.loads(
    (ROOT / "docs" / "data" / "inputs.toml").read_text(encoding="utf-8")
)["formats"]


def test_every_format_is_declared_once() -> None:
    names = [declared["name"] for declared in FORMATS]
    assert {"FASTA", "FASTQ", "VCF", "BED"} <= {*names}
    assert len({*names}) == len(names)


@pytest.mark.parametrize("declared", FORMATS, ids=lambda declared: declared["name"])
def test_commands_that_take_it_exist(declared: dict[str, Any]) -> None:
    commands: Any = typer.main.get_command(app)
    assert declared["commands"]
    assert declared["accepted"]
    assert declared["refused"]
    for line in declared["commands"]:
        name, *rest = line.split()
        options = {one for parameter in commands.commands[name].params for one in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= options, line
