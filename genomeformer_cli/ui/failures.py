"""A failure becomes a sentence, a hint and an exit code."""

from __future__ import annotations

from rich.markup import escape
from typer import TyperException

from genomeformer_cli.core.errors import GenomeformerError
from genomeformer_cli.ui.console import talk

INTERRUPTED = 130
INTERNAL = 70


def show_failure(message: str, hint: str | None) -> None:
    """Say what went wrong and what to do next, on stderr."""
    console = talk()
    console.print(f"[bold red]error:[/] {escape(message)}")
    if hint:
        console.print(f"\n[bold]hint:[/] {escape(hint)}")


def explain(failure: Exception) -> int:
    """Show any failure; return the exit code it deserves."""
    if isinstance(failure, GenomeformerError):
        show_failure(failure.message, failure.hint)
        return failure.exit_code
    if isinstance(failure, TyperException):
        show_failure(
            _lower_first(failure.format_message()).rstrip("."),
            "add `--help` to see what is possible",
        )
        return failure.exit_code
    show_failure(
        f"unexpected {type(failure).__name__}: {failure}",
        "this is a bug; run again with `genomeformer --debug ...` and report what it prints",
    )
    return INTERNAL


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
