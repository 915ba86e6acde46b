"""Text of cards and reports from the Jinja2 templates in `assets/templates`."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from genomeformer_cli.core.escaping import markdown, one_line, printable
from genomeformer_cli.core.tables import markdown_table

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parents[1] / "assets" / "templates"


def yaml_string(text: str) -> str:
    """Return a quoted YAML string: JSON whose control characters are all escaped."""
    return "".join(
        letter if printable(letter) == letter else f"\\u{ord(letter):04x}"
        for letter in json.dumps(text, ensure_ascii=False)
    )


def code_span(text: str) -> str:
    """Return the text as Markdown code on one line."""
    return "`" + one_line(text).replace("`", "'") + "`"


def render_template(name: str, /, **values: object) -> str:
    """Fill in a template; values are escaped in HTML.

    Args:
        name: File name without `.j2`; `.html` turns on escaping.
        values: Variables of the template; an unknown variable is an error.
    """
    return _environment().get_template(f"{name}.j2").render(values)


def render_file(path: Path, /, **values: object) -> str:
    """Fill in a template file outside the package, with the filters of the package."""
    from jinja2 import FileSystemLoader

    loader = FileSystemLoader(path.parent)
    return _environment().overlay(loader=loader).get_template(path.name).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "fixed": lambda value, digits: f"{value:.{digits}f}",
        "general": lambda value, digits=6: f"{value:.{digits}g}",
        "percent": lambda value, digits=0: f"{value:.{digits}%}",
        "thousands": lambda value: f"{value:,.0f}",
        "yaml": yaml_string,
        "markdown": markdown,
        "code": code_span,
        "markdown_table": markdown_table,
    }
    return environment
