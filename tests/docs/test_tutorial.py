"""The tutorial notebook: valid, without stored outputs, and run cell by cell in a fresh folder."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import shlex
import shutil
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from tests.cli import RunCommand

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOK = DOCS / "tutorial.ipynb"


def code_cells() -> list[str]:
    """Return the sources of the code cells."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def split(source: str) -> tuple[str, list[str]]:
    """Return the Python code of a cell, and its command lines."""
    lines = source.split("\n")
    commands = [line[1:] for line in lines if line.startswith("!")]
    return "\n".join(line for line in lines if not line.startswith("!")), commands


def test_the_notebook_is_clean() -> None:
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    identifiers = [cell["id"] for cell in document["cells"]]
    assert len(set(identifiers)) == len(identifiers)
    for cell in document["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            python, commands = split("".join(cell["source"]))
            compile(python, cell["id"], "exec")
            assert not (python.strip() and commands), "Python and commands stand in cells apart"
            assert all(command.startswith("genomeformer ") for command in commands)


@pytest.mark.slow
def test_the_cells_run_in_order(
    run_cli: RunCommand, cache_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    shutil.copy(DOCS / "data" / "promoters.csv", folder)
    monkeypatch.chdir(folder)
    mpl.use("agg")
    names: dict[str, Any] = {}
    printed = io.StringIO()
    for source in code_cells():
        python, commands = split(source)
        for command in commands:
            done = run_cli(*shlex.split(command)[1:])
            assert done.exit_code == 0, f"{command}\n{done.err}"
        cell = tmp_path / "cell.py"
        cell.write_text(python, encoding="utf-8")
        with contextlib.redirect_stdout(printed):
            names = runpy.run_path(str(cell), init_globals=names)
    assert (cache_home / "models").is_dir() or (cache_home / "runs").is_dir()
    assert names["accuracy"]["vectors"].mean() > 0.7
    assert names["right"] > 0.7
    assert len(names["track"]) > 200
    assert len(names["table"]) == 9
    assert all((folder / picture).stat().st_size > 1_000 for picture in ("vectors.png", "scan.png"))
    crate = json.loads((folder / "ro-crate-metadata.json").read_text(encoding="utf-8"))
    assert any(entity["@id"] == "mine.npy" for entity in crate["@graph"])
    assert printed.getvalue().startswith("vectors")
