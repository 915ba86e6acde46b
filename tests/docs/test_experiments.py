"""Pages of experiments: every entry is complete, dated and listed in the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "experiments"
TOPICS = sorted(path for path in FOLDER.glob("*.md") if path.name != "index.md")


def entries(path: Path) -> list[str]:
    return re.split(r"^### ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]


@pytest.mark.parametrize("path", TOPICS, ids=lambda path: path.stem)
def test_every_entry_has_its_fields(path: Path) -> None:
    assert entries(path)
    for entry in entries(path):
        fields = re.findall(r"^- \*\*(\w+):\*\* \S", entry, re.MULTILINE)
        assert [name for name in fields if name != "Setting"] == [
            *("Date", "Command", "Result", "Verdict")
        ], entry.partition("\n")[0]
        assert re.search(r"\*\*Date:\*\* 20\d\d-\d\d-\d\d$", entry, re.MULTILINE)


def test_the_index_links_every_entry() -> None:
    index = (FOLDER / "index.md").read_text(encoding="utf-8")
    linked = len(re.findall(r"^\| 20\d\d-\d\d-\d\d \| \[", index, re.MULTILINE))
    assert linked == sum(len(entries(path)) for path in TOPICS)
