"""Declarations of readers: complete, and true of the command line."""

from __future__ import annotations

from typing import Any

import pytest
import typer.main

from genomeformer_cli.app import app
from genomeformer_cli.core.formats.declaration import InputFormat, input_formats

FORMATS = list(input_formats())


def test_the_formats_of_this_package_are_declared() -> None:
    assert {"FASTA", "FASTQ", "VCF", "BED"} <= {one.name for one in FORMATS}
    assert len({one.name for one in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize("declared", FORMATS, ids=lambda one: one.name)
def test_commands_that_take_it_exist(declared: InputFormat) -> None:
    commands: Any = typer.main.get_command(app)
    assert declared.commands
    assert declared.accepted
    assert declared.refused
    for line in declared.commands:
        name, *rest = line.split()
        options = {one for parameter in commands.commands[name].params for one in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= options, line
