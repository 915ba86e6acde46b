"""Escaping of untrusted text for terminals, Markdown and UTF-8.

Record names, archive members, addresses and server responses may contain control characters. A
terminal would execute them, and bidirectional marks would reorder the displayed text.
"""

from __future__ import annotations

import re

# C0 but tab and line feed, DEL, C1, line separators, bidirectional marks, lone surrogates.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff"
    "\ud800-\udfff]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_EXCERPT = 80
# Characters of Markdown in a table cell: code, emphasis, HTML, columns, link targets.
_MARKDOWN = re.compile(r"([\\`*<>|]|(?<=\])\()")


def printable(text: str) -> str:
    r"""Return the text with control characters written as `\x1b` or `\u202e`."""
    return _CONTROL.sub(lambda match: _escape(match[0]), text)


def one_line(text: str) -> str:
    r"""Return the printable text with line feeds and tabs written as `\n` and `\t`."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def excerpt(value: object) -> str:
    """Return an untrusted value for a message, on one line and no longer than a name."""
    text = one_line(str(value)[: _EXCERPT + 1])
    return text if len(text) <= _EXCERPT else f"{text[: _EXCERPT - 3]}..."


def encodable(text: str) -> str:
    r"""Return the text with lone surrogates, as in names not in UTF-8, written as `\udcff`."""
    return _SURROGATE.sub(lambda match: _escape(match[0]), text)


def markdown(text: str) -> str:
    """Return the text so that Markdown renders it letter for letter, on one line."""
    return _MARKDOWN.sub(r"\\\1", printable(text).replace("\n", " ").replace("\t", " "))


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
