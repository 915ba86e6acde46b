"""Known suites as lines of facts and as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from genomeformer_cli.core.known_suites import KnownSuite
from genomeformer_cli.core.tables import Table, markdown_table

UNKNOWN = "unknown"
_LABEL_WIDTH = 9


def render_suites(suites: Sequence[KnownSuite]) -> RenderableType:
    """Return the facts and rules of every suite, one fact per line."""
    lines: list[str] = []
    for suite in suites:
        lines += [f"{suite.name}: {suite.title}"]
        lines += [f"  {label:<{_LABEL_WIDTH}}{fact}" for label, fact in _facts(suite)]
        lines += [
            f"  {rule.subject:<{_LABEL_WIDTH}}{_followed(rule.followed)}. Theirs: {rule.theirs}. "
            f"Here: {rule.ours}."
            for rule in suite.rules
        ]
    return Group(*(Text(line, no_wrap=True, overflow="ignore") for line in lines))


def _facts(suite: KnownSuite) -> Iterator[tuple[str, str]]:
    yield "about", suite.about
    yield "tasks", suite.tasks
    yield "get", suite.get
    yield "licence", suite.licence or UNKNOWN
    yield "layout", suite.layout
    yield "metrics", ", ".join(suite.metrics) or "-"
    yield "sources", "; ".join(suite.sources)


def _followed(followed: bool) -> str:  # noqa: FBT001 - a cell of a table
    return "followed" if followed else "not followed"


def suites_page(suites: Sequence[KnownSuite]) -> str:
    """Return the facts and rules of all suites as a Markdown page."""
    parts = [
        "# Suites",
        "Published suites of labelled sequences that [`evaluate --suite`](../guides/evaluate.md) "
        "reads in the layout of their authors. Nothing is downloaded: get the data with the "
        "command or from the address below. `genomeformer models --suites` prints this "
        "page.",
        markdown_table(
            Table(
                headings=("suite", "contents", "licence", "metrics"),
                rows=tuple(
                    (
                        suite.name,
                        suite.about,
                        suite.licence or UNKNOWN,
                        ", ".join(suite.metrics) or "-",
                    )
                    for suite in suites
                ),
            )
        ),
    ]
    for suite in suites:
        parts += [f"## {suite.title}", _list_facts(suite), _rules_table(suite)]
    return "\n\n".join(parts)


def _list_facts(suite: KnownSuite) -> str:
    return "\n".join(f"- {label}: {fact}" for label, fact in _facts(suite) if label != "about")


def _rules_table(suite: KnownSuite) -> str:
    return markdown_table(
        Table(
            headings=("rule", "theirs", "here", "followed"),
            rows=tuple(
                (rule.subject, rule.theirs, rule.ours, "yes" if rule.followed else "no")
                for rule in suite.rules
            ),
        )
    )
