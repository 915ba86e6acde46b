"""Results of `doctor`, as lines that can be copied into a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

if TYPE_CHECKING:
    from genomeformer_cli.core.workflows.doctor import Check, Diagnosis


def render_diagnosis(diagnosis: Diagnosis) -> RenderableType:
    """Return one line per check: its state, its values, and the next step."""
    lines = (_line(check) for check in diagnosis.checks)
    return Group(*(Text(line, no_wrap=True, overflow="ignore") for line in lines))


def _line(check: Check) -> str:
    advice = f" - {check.advice}" if check.advice else ""
    return f"{check.state.value:<9} {check.name}: {check.text}{advice}"
