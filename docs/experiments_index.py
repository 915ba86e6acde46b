"""The index of experiments: one row per entry of docs/experiments, for `generate_reference.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

EXPERIMENTS = Path(__file__).resolve().parent / "experiments"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One entry of a page of experiments."""

    question: str  # Heading of the entry.
    fields: Mapping[str, str]  # Date, Setting, Command, Result and Verdict, as far as given.


def experiments_of(path: Path) -> list[Experiment]:
    """Read the entries of a page: `### question`, then `- **Field:** text` lines."""
    return [
        Experiment(
            question=entry.partition("\n")[0].strip(),
            fields=dict(re.findall(r"^- \*\*(\w+):\*\* (.+)$", entry, re.MULTILINE)),
        )
        for entry in re.split(r"^### ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    ]


def experiments_page() -> str:
    """Date, question and verdict of every experiment, one table per topic."""
    parts = [
        "# Experiments",
        "Measurements, with the command that repeats them. An entry is written when its number is "
        "measured, whichever side wins, and is not edited afterwards; a later entry corrects it. "
        "Every number has its baseline from the same run on the same machine. Failures stay.",
    ]
    for path in sorted(EXPERIMENTS.glob("*.md")):
        if path.name == "index.md":
            continue
        title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        lines = [f"## [{title}]({path.name})", "", "| date | question | verdict |", "|---|---|---|"]
        for experiment in experiments_of(path):
            question, anchor = table_cell(experiment.question), _anchor(experiment.question)
            link = f"[{question}]({path.name}#{anchor})"
            verdict = table_cell(_first_clause(experiment.fields["Verdict"]))
            lines.append(f"| {experiment.fields['Date']} | {link} | {verdict} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _anchor(heading: str) -> str:
    """Return the id that the site gives a heading."""
    plain = re.sub(r"[^\w\s-]", "", heading).strip().lower()
    return re.sub(r"[-\s]+", "-", plain)


def _first_clause(text: str, longest: int = 160) -> str:
    """Cut a verdict at the end of its first clause that leaves at least 20 letters."""
    end = re.search(r"(?<=.{20})[;:.](?=\s|$)", text)
    clause = text[: end.start()] if end else text
    if len(clause) <= longest:
        return clause
    return f"{clause[:longest].rpartition(' ')[0].rstrip(',')} ..."


def table_cell(text: str) -> str:
    """Return a text as a cell of a table of Markdown."""
    return text.replace("|", r"\|")
