"""Tokens of a sequence on a terminal: in alternating colours, or separated by `|`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from genomeformer_cli.core.workflows.tokenize_inspect import (
        InspectedRecord,
        InspectResult,
        Treatment,
    )

_TOKENS = ("black on #8ecae6", "black on #ffd166")
_SPELLED = ("black on #a7c957", "black on #d0e8a0")
_UNKNOWN = "bold white on #c1121f"
_SEPARATOR = "|"
_GUTTER = 2
_MAX_NAMES = 3
# At least one letter and one separator per row.
_NARROWEST, _WIDEST = 2, 120


@dataclass(frozen=True)
class TokensView:
    """View of every record: its tokens, and the effect of the tokenizer's rules in words."""

    result: InspectResult

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw for the width and the colours of a console."""
        coloured = console.color_system is not None and not console.no_color
        result = self.result
        name = tokenizer_name(result.tokenizer, result.settings)
        yield Text(f"tokenizer {name}, {result.vocabulary_size:,} tokens")
        for record in result.records:
            yield Text()
            yield from _RecordView(result, record, options.max_width, coloured=coloured).lines()
        if not result.complete:
            num_bases = sum(len(record.sequence) for record in result.records)
            yield Text()
            yield Text(f"there is more: {_bases(num_bases)} are shown, `--limit` sets how many")


def tokenizer_name(kind: str, settings: Mapping[str, Any]) -> str:
    """Return a tokenizer's kind with the settings that determine its tokens."""
    relevant = [f"{key} {settings[key]}" for key in ("k", "stride") if key in settings]
    return f"{kind} ({', '.join(relevant)})" if relevant else kind


class _RecordView:
    """View of one record."""

    def __init__(
        self, result: InspectResult, record: InspectedRecord, width: int, *, coloured: bool
    ) -> None:
        self._result = result
        self._record = record
        self._coloured = coloured
        self._digits = len(f"{len(record.sequence):,}")
        self._width = max(min(width, _WIDEST) - self._digits - _GUTTER, _NARROWEST)
        self._styles = [self._style(number) for number in range(len(record.tokens))]

    def lines(self) -> Iterator[Text | Table]:
        """Return header, tokens and legend."""
        record = self._record
        yield Text(f">{record.id} {record.description}".rstrip())
        yield Text(self._size())
        overlaps = any(
            second[0] < first[1]
            for first, second in zip(record.offsets, record.offsets[1:], strict=False)
        )
        # Rows fit by construction; Rich would wrap them at blanks.
        for line in self._staircase() if overlaps else self._side_by_side():
            line.no_wrap, line.overflow = True, "ignore"
            yield line
        legend = self._legend()
        if legend.row_count:
            yield legend

    def _size(self) -> str:
        record = self._record
        num_bases, num_tokens = len(record.sequence), len(record.tokens)
        if not num_tokens:
            return "no base, no token"
        first = "" if record.complete else "the first "
        bases = first + _bases(num_bases)
        tokens = f"{num_tokens:,} {'token' if num_tokens == 1 else 'tokens'}"
        return f"{bases}, {tokens}, {num_bases / num_tokens:.2f} bases per token"

    def _style(self, number: int) -> str:
        start, stop = self._record.offsets[number]
        if self._record.sequence[start].upper() not in "ACGTU":
            return _UNKNOWN
        spelled = stop - start == 1 and self._longest > 1
        return (_SPELLED if spelled else _TOKENS)[number % 2]

    @property
    def _longest(self) -> int:
        """Bases of a k-mer; 2 for byte pairs, whose shortest merged token has two letters."""
        return int(self._result.settings.get("k", 1 if self._result.tokenizer == "char" else 2))

    def _gutter(self, start: int) -> str:
        return f"{start + 1:>{self._digits},}" + " " * _GUTTER

    def _side_by_side(self) -> Iterator[Text]:
        """Return rows of adjacent tokens; only tokens longer than a row are broken."""
        separator = "" if self._coloured else _SEPARATOR
        row, used = Text(self._gutter(0)), 0
        for (start, stop), style in zip(self._record.offsets, self._styles, strict=True):
            needed = stop - start + len(separator)
            if used and used + needed > self._width:
                yield row
                row, used = Text(self._gutter(start)), 0
            letters = self._record.sequence[start:stop]
            while used + len(letters) + len(separator) > self._width:
                fits = self._width - used
                row.append(letters[:fits], style)
                yield row
                letters, start = letters[fits:], start + fits
                row, used = Text(self._gutter(start)), 0
            row.append(letters, style)
            row.append(separator)
            used += len(letters) + len(separator)
        if used:
            yield row

    def _staircase(self) -> Iterator[Text]:
        """Return the sequence with its overlapping tokens below it, in as many rows as needed."""
        record = self._record
        reach = max(stop - start for start, stop in record.offsets) - 1
        width = max(self._width - reach, 1)
        number = 0
        for begin in range(0, len(record.sequence), width):
            end = min(begin + width, len(record.sequence))
            rows: list[Text] = []
            while number < len(record.tokens) and record.offsets[number][0] < end:
                start, stop = record.offsets[number]
                row = next((row for row in rows if len(row) <= start - begin - bool(row)), None)
                if row is None:
                    row = Text()
                    rows.append(row)
                row.append(" " * (start - begin - len(row)))
                row.append(record.sequence[start:stop], self._styles[number])
                number += 1
            yield Text(self._gutter(begin)) + Text(record.sequence[begin:end], "bold")
            indent = " " * (self._digits + _GUTTER)
            for row in rows:
                yield Text(indent) + row
            if end < len(record.sequence):
                yield Text()

    def _legend(self) -> Table:
        """Return one row per applied rule, beside its colour."""
        table = Table.grid(padding=(0, 1))
        for style, text in _applied_rules(self._result, self._record.treatment):
            table.add_row(Text("  ", style) if self._coloured else Text("-"), Text(text))
        return table


def _applied_rules(result: InspectResult, treatment: Treatment) -> Iterator[tuple[str, str]]:
    if treatment.num_spelled:
        yield _SPELLED[0], _spelled(result, treatment.num_spelled)
    if treatment.num_unknown:
        yield _UNKNOWN, f"{treatment.num_unknown:,} N: {_unknown(treatment)}"
    if treatment.ambiguous:
        codes = ", ".join(f"{times:,} {code}" for code, times in treatment.ambiguous.items())
        single = treatment.is_unknown_alone and len(treatment.unknown) == 1
        display_name = f", id {treatment.unknown[0][1]}" if single else ""
        yield _UNKNOWN, f"{codes}: ambiguous, read as N{display_name}"
    if treatment.num_lower_case:
        text = "lower case: cut as upper case, the soft mask is kept beside the ids"
        yield "", f"{_bases(treatment.num_lower_case)} in {text}"
    if treatment.num_uracil:
        yield "", f"{treatment.num_uracil:,} U: read as T"


def _bases(number: int) -> str:
    return f"{number:,} {'base' if number == 1 else 'bases'}"


def _unknown(treatment: Treatment) -> str:
    """Return the tokens of N in words."""
    if treatment.is_unknown_alone and len(treatment.unknown) == 1:
        return f"a token of its own each, id {treatment.unknown[0][1]}"
    names = [f"`{token}` ({number})" for token, number in treatment.unknown[:_MAX_NAMES]]
    more = len(treatment.unknown) - len(names)
    return "in " + ", ".join(names) + (f" and {more:,} other tokens" if more else "")


def _spelled(result: InspectResult, number: int) -> str:
    bases = f"{_bases(number)} of A C G T"
    if "k" not in result.settings:
        return f"{bases} in a token alone: no learned pair fits"
    k, stride = result.settings["k"], result.settings["stride"]
    if stride == k:
        return f"{bases} spelled one by one: no whole {k}-mer fits before the N or the end"
    return f"{bases} spelled one by one: no {k}-mer of stride {stride} covers them"
