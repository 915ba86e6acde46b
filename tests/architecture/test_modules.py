"""Rules of every module: size, first line, place in the layers."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "genomeformer_cli"
FOLDERS = ("genomeformer_cli", "tests", "benchmarks", "docs", "scripts")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
LINES_AT_MOST = 400


def layers_of(container: str) -> set[str]:
    """Names of the layers that `pyproject.toml` gives a container."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = [c["layers"] for c in contracts if c.get("containers") == [container]]
    return {name for layer in layers for name in re.findall(r"\w+", layer)}


def test_modules_are_short_and_have_docstrings() -> None:
    texts = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in MODULES}
    assert not [path for path, text in texts.items() if len(text.splitlines()) > LINES_AT_MOST]
    assert not [path for path, text in texts.items() if not ast.get_docstring(ast.parse(text))]


@pytest.mark.parametrize(
    ("container", "folder"),
    [("genomeformer_cli", PACKAGE), ("genomeformer_cli.core", PACKAGE / "core")],
)
def test_every_place_has_a_layer(container: str, folder: Path) -> None:
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    packages = {path.name for path in folder.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert (modules | packages) <= layers_of(container)


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]
