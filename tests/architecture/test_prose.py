"""Docstrings, parameter texts and help texts in plain words: rules of style held per folder."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from prose import DISTRIBUTIVE, offenders, opens_badly, parameter_texts, read_prose

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "genomeformer_cli"
TESTS = ROOT / "tests"
FOLDERS = sorted({path.parent for root in (PACKAGE, TESTS) for path in root.rglob("*.py")})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_texts_open_with_a_verb_or_a_noun(folder: Path) -> None:
    broken = offenders(read_prose(sorted(folder.glob("*.py")), ROOT))
    shown = "\n".join(f"{text.place}: {text.text.partition(chr(10))[0]}" for text in broken)
    assert not broken, f"{len(broken)} texts:\n{shown}"


@pytest.mark.parametrize(
    "text",
    [
        "What attention adds.",
        "Who is learned from.",
        "Whose rows.",
        "Where the part lies.",
        "Whether this one writes.",
        "How many there are.",
        "Which of them.",
        "Of the run.",
        "Its; that of a signal is negative.",
        "Theirs alone.",
        "These and no others.",
        "The same, token by token.",
        "`what` is no exception",
    ],
)
def test_openers_that_are_refused(text: str) -> None:
    assert opens_badly(text)


@pytest.mark.parametrize(
    "text",
    [
        "Return the attention output.",
        "Run directory.",
        "Offset of the record.",
        "Whole-genome windows.",
        "Which-like name",
        "The samples.",
    ],
)
def test_openers_that_are_accepted(text: str) -> None:
    assert not opens_badly(text)


@pytest.mark.parametrize("text", ["Write a row a record.", "one line a file", "a random row a run"])
def test_distributive_articles_are_refused(text: str) -> None:
    assert DISTRIBUTIVE.search(text)


@pytest.mark.parametrize("text", ["one row per record", "give a file a name", "a record of a row"])
def test_plain_articles_are_accepted(text: str) -> None:
    assert not DISTRIBUTIVE.search(text)


def test_parameter_texts_of_both_layouts_are_found() -> None:
    google = """Embed.

    Args:
        path: Of the run.
            More words.
        size (int): Number of rows.

    Returns:
        Its width.

    Raises:
        ValueError: Whose file is empty.
    """
    numpy = """Embed.

    Parameters
    ----------
    path : str
        Of the run.
        More words.
    size : int
        Number of rows.

    Returns
    -------
    int
        Its width.
    """
    assert list(parameter_texts(google)) == [
        "Of the run.",
        "Number of rows.",
        "Its width.",
        "Whose file is empty.",
    ]
    assert list(parameter_texts(numpy)) == ["Of the run.", "Number of rows.", "Its width."]


def test_fields_are_documented_beside_them(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""Sample module."""\n\n\nclass Outer:\n    """Outer class."""\n\n'
        '    class Inner:\n        """Inner class."""\n\n'
        "        # Of the\n        # run.\n        size: int\n"
        '        name: str = "# no comment"  # Its name.\n'
    )
    assert [text.place for text in offenders(read_prose([module], tmp_path))] == [
        "module.py:7 Inner.size",
        "module.py:7 Inner.name",
    ]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_do_not_repeat_the_names_of_fields(folder: Path) -> None:
    repeated = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}.{name}"
        for path in sorted(folder.glob("*.py"))
        if "Attributes:" in (source := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        for name in re.findall(r"^    (\w+):", _attributes_of(node), re.MULTILINE)
        if name in {ast.unparse(s.target) for s in node.body if isinstance(s, ast.AnnAssign)}
    ]
    assert not repeated, f"write a comment beside or above the field: {repeated}"


def _attributes_of(node: ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").partition("\nAttributes:\n")[2]


def test_a_broken_rule_is_reported_with_its_place(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""Sample module."""\n\n\ndef shape(x):\n    """What is left of x."""\n'
        'name = Option("--name", help="Of the run")\n'
    )
    places = [text.place for text in offenders(read_prose([module], tmp_path))]
    assert sorted(places) == ["module.py:4 shape", "module.py:6"]
