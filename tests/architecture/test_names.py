"""Names of variables, parameters and functions: nouns and verbs, no participles or pronouns."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "genomeformer_cli"
FOLDERS = sorted({path.parent for path in PACKAGE.rglob("*.py")})
PARTICIPLES = """
asked chosen counted done drawn found given heard held joined kept known listed lost made meant
named passed said seen shown spent taken told tried turned wanted written
"""
PRONOUNS = "both each everything here mine nothing one others ours same some theirs there whose"
REFUSED = {*PARTICIPLES.split(), *PRONOUNS.split()}
# The second operand of an operator is `other` by convention; a variable is not.
REFUSED_VARIABLES = {*REFUSED, "other"}


def offences(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of each refused name that a module gives.

    Fields of classes are keys of the documents that they are written to, and are not checked.
    """
    tree = ast.parse(source)
    fields = {
        id(node.target)
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        name, refused = "", REFUSED
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            name = node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = "" if id(node) in fields else node.id
            refused = REFUSED_VARIABLES
        if name.strip("_") in refused:
            yield getattr(node, "lineno", 0), name


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_names_are_nouns_or_verbs(folder: Path) -> None:
    refused = [
        f"{path.name}:{line} {name}"
        for path in sorted(folder.glob("*.py"))
        for line, name in offences(path.read_text(encoding="utf-8"))
    ]
    assert not refused


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("found = [one for one in rows]", ["found", "one"]),
        ("def _told(said, *, wanted): ...", ["_told", "said", "wanted"]),
        ("for left, right in pairs: other = left", ["other"]),
        ("class Total:\n    kept: int\n    def __add__(self, other): ...", []),
        ("self._seen = matches = set()", ["_seen"]),
    ],
)
def test_refused_names_are_found(source: str, names: list[str]) -> None:
    assert sorted(name for _, name in offences(source)) == sorted(names)
