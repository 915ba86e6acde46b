"""Pages of the docs: links and anchors exist, tables have headers, the words are plain."""

from __future__ import annotations

import os
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from prose import DISTRIBUTIVE

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
# Decisions and experiments are records of their day; reference pages are written from the code.
HISTORY = ("docs/adr/", "docs/experiments/", "docs/reference/", "CHANGELOG.md")
WRITTEN = [page for page in PAGES if not page.relative_to(ROOT).as_posix().startswith(HISTORY)]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without_code(path: Path) -> str:
    """Return the text of a page without code blocks and comments."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    return re.sub(r"<!--.*?-->", "", text, flags=re.S)


def anchors(path: Path) -> set[str]:
    """Return the ids that a site gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", without_code(path), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", re.sub(r"\]\([^)]*\)", "", heading)) for heading in headings]
    return {re.sub(r"[-\s]+", "-", heading.strip().lower()) for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        linked = Path(os.path.normpath(page.parent / path)) if path else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked), target


def test_extras_of_the_install_page_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    table = text.partition("## Extras")[2].partition("## ")[0]
    rows = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert listed == set(project["optional-dependencies"])
    for page in WRITTEN:
        for names in re.findall(r"['\"](?:genomeformer|\.)\[([\w,]+)\]", page.read_text("utf-8")):
            assert set(names.split(",")) <= listed, f"{name_of(page)}: {names}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tables_have_headers_and_code_without_escaped_pipes(page: Path) -> None:
    lines = without_code(page).splitlines()
    for header, rule in pairwise(lines):
        if re.match(r"\|[\s:|-]+\|$", rule) and header.startswith("|"):
            cells = re.split(r"(?<!\\)\|", header.strip("|"))
            assert all(cell.strip() for cell in cells), f"empty header cell: {header}"
    if page in WRITTEN:
        escaped = [line for line in lines if re.search(r"`[^`|]*\\\|[^`]*`", line)]
        assert not escaped, "a site shows the backslash: use a code block"


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_one_row_per_record(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "`x`", without_code(page))
    assert not DISTRIBUTIVE.findall(text), [m.group() for m in DISTRIBUTIVE.finditer(text)]


def test_every_decision_is_listed_with_its_title() -> None:
    index = (ROOT / "docs" / "develop" / "architecture.md").read_text(encoding="utf-8")
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    names = sorted(path.name for path in (ROOT / "docs" / "adr").glob("*.md"))
    lines = []
    for name in names:
        heading, *_ = (ROOT / "docs" / "adr" / name).read_text(encoding="utf-8").splitlines()
        lines.append(f"- [{heading.split('. ', 1)[1]}](../adr/{name})")
    assert re.findall(r"^- \[.*\]\(\.\./adr/.*\)$", index, re.MULTILINE) == lines
    assert re.findall(r"adr/(.+\.md)", site) == names


def test_the_table_of_layers_is_that_of_the_import_contracts() -> None:
    text = (ROOT / "docs" / "develop" / "architecture.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {one["id"]: one for one in project["tool"]["importlinter"]["contracts"]}
    shell = [layer.split(" | ") for layer in contracts["shell"]["layers"]]
    core = [
        [f"core.{name}" for name in layer.split(" | ")] for layer in contracts["core"]["layers"]
    ]
    layers = [line for line in shell if line not in (["__main__"], ["core"], ["_version"])] + core
    rows = re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE)
    found = [sorted(re.findall(r"`([\w.]+)`", row)) for row in rows]
    assert found == [sorted(line) for line in layers]


def test_the_tree_has_every_folder() -> None:
    tree = (ROOT / "docs" / "develop" / "tree.md").read_text(encoding="utf-8")
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    folders = [path.name + "/" for path in ROOT.iterdir() if path.is_dir()]
    shown = [name for name in folders if not name.startswith((".", "__")) and name not in ignored]
    assert [name for name in shown if f"\n{name} " not in tree] == []
