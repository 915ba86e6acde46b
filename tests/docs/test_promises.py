"""Pages of promises: each row names a test, and the test exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.fuzz.targets import targets

ROOT = Path(__file__).parents[2]
THREATS = ROOT / "docs" / "reference" / "threat-model.md"
RELIABILITY = ROOT / "docs" / "reference" / "reliability.md"
NAMED = re.compile(r"`(tests/[\w/.-]+)(?:::(\w+))?`")


def rows(page: Path, heading: str) -> list[str]:
    """Return the rows of the first table whose header has the word."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("|") and heading in line)
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append(line)
    return found


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", [*rows(THREATS, "Promise"), *rows(RELIABILITY, "promise")])
def test_every_promise_names_a_test(row: str) -> None:
    assert NAMED.search(row), row


@pytest.mark.parametrize("page", [THREATS, RELIABILITY, ROOT / "SECURITY.md"], ids=lambda p: p.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = NAMED.findall(text)
    assert named
    for path, name in named:
        assert (ROOT / path).exists(), path
        if name:
            assert name in functions_of(ROOT / path), f"{path} has no `{name}`"


def test_every_fuzz_target_that_a_page_names_exists() -> None:
    text = THREATS.read_text(encoding="utf-8")
    named = {
        name
        for part in re.findall(r"fuzz targets? ((?:`[\w-]+`(?:, )?)+)", text)
        for name in re.findall(r"`([\w-]+)`", part)
    }
    assert named
    assert named <= targets().keys(), named - targets().keys()
