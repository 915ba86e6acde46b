"""GenBank locations, as in `join(complement(1..5),9..>12)`, as parts of a feature.

| location                                   | read as                                           |
|--------------------------------------------|---------------------------------------------------|
| `3..9`, `3`, `<3..>9`                      | bases 3 to 9; `<` and `>` mark an open end        |
| `9..3`                                     | across the origin of a circle; an error elsewhere |
| `join`, `order`, `complement`              | parts in biological order                         |
| `(3.5)..9`, `3.5`, `one-of`, `bond`, `3^4` | unclear; extent from smallest to largest base     |
| `J00194.1:3..9`, `gap(10)`                 | unclear, without an extent on this record         |
| `3..x`, `x`, `..9`                         | unclear, without a limit: no parts                |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from genomeformer_cli.core.formats.feature import MINUS, PLUS, Part

_RANGE = re.compile(r"(<?)([0-9]{1,15})\.\.(>?)([0-9]{1,15})")
_BASE = re.compile(r"([<>]?)([0-9]{1,15})")
_CALL = re.compile(r"(complement|join|order)\((.*)\)")
_ANY_CALL = re.compile(r"[A-Za-z-]*\((.*)\)")
_REMOTE = re.compile(r"([\w.|-]+):")
# Anchored at the start of a word, so that a long word is scanned once.
_REMOTE_ANYWHERE = re.compile(r"(?<![\w.|-])[\w.|-]+:[^,()]*")
_DEEPEST = 20
_LONGEST_TEXT = 1 << 18
_LONGEST_NUMBER = 15
_SHOWN = 40


class LocationError(ValueError):
    """Location that the record cannot have; the text completes "the feature ..."."""


@dataclass(frozen=True, slots=True)
class Location:
    """Location of a feature."""

    # Parts in ascending order; in biological order if their strands differ. Empty if none is on the
    # record, or one has no known limit.
    parts: tuple[Part, ...]
    own_order: tuple[Part, ...]  # Parts from the feature's 5' end.
    open_5: bool  # True if the 5' end is marked as open.
    open_3: bool  # True if the 3' end is marked as open.
    is_order: bool  # True for an `order`, whose parts may not belong together.
    unclear: str  # Part that cannot be interpreted; empty if none.


class _Piece(NamedTuple):
    part: Part
    open_low: bool = False
    open_high: bool = False

    def is_open(self, end: int) -> bool:
        """Return True if the 5' (0) or 3' (1) end is open."""
        ends = self.open_low, self.open_high
        return ends[end if self.part.strand == PLUS else 1 - end]


class LocationReader:
    """Parser of the locations of one record.

    Args:
        length: Length of the record, if known.
        circular: True for a circular record.
        names: Names of the record, which some programs write before `:`.
    """

    def __init__(self, *, length: int | None, circular: bool, names: frozenset[str]) -> None:
        self._length = length
        self._circular = circular
        self._names = names
        self._unclear = ""
        self._is_order = self._is_unbounded = False

    def read(self, text: str) -> Location:
        """Parse a location; white space is ignored.

        Raises:
            LocationError: The location has bases outside the record.
        """
        text = "".join(text.split())
        self._unclear, self._is_order, self._is_unbounded = "", False, False
        if not text:
            self._unclear = "no location"
        pieces = list(self._pieces(text, PLUS, 0)) if text else []
        if self._is_unbounded:
            pieces = []
        own_order = tuple(piece.part for piece in pieces)
        minus = bool(pieces) and all(part.strand == MINUS for part in own_order)
        return Location(
            parts=own_order[::-1] if minus else own_order,
            own_order=own_order,
            open_5=bool(pieces) and pieces[0].is_open(0),
            open_3=bool(pieces) and pieces[-1].is_open(1),
            is_order=self._is_order,
            unclear=self._unclear[:_SHOWN],
        )

    def _pieces(self, text: str, strand: int, depth: int) -> Iterator[_Piece]:
        is_readable = depth < _DEEPEST and len(text) <= _LONGEST_TEXT
        call = _CALL.fullmatch(text) if is_readable else None
        if call is None or not _is_balanced(call[2]):
            yield from self._leaf(text, strand)
        elif call[1] == "complement":
            if len(_split(call[2])) > 1:
                yield from self._leaf(call[2], -strand)
            else:
                yield from reversed(list(self._pieces(call[2], -strand, depth + 1)))
        else:
            self._is_order |= call[1] == "order"
            for inner in _split(call[2]):
                yield from self._pieces(inner, strand, depth + 1)

    def _leaf(self, text: str, strand: int) -> Iterator[_Piece]:
        remote = _REMOTE.match(text)
        if remote is not None and remote[1] in self._names:
            text, remote = text[remote.end() :], None
        if match := _RANGE.fullmatch(text):
            part = self._part(int(match[2]), int(match[4]), strand)
            yield _Piece(part, bool(match[1]), bool(match[3]))
        elif match := _BASE.fullmatch(text):
            part = self._part(int(match[2]), int(match[2]), strand)
            yield _Piece(part, match[1] == "<", match[1] == ">")
        else:
            self._unclear = self._unclear or text or "an empty part"
            extent = self._extent(text) if remote is None else None
            if extent is not None:
                yield _Piece(replace(extent, strand=strand))

    def _extent(self, text: str, depth: int = 0) -> Part | None:
        """Return the interval from the smallest to the largest possible base."""
        if len(text) > _LONGEST_TEXT:
            depth = _DEEPEST
        choices = _split(text)
        call = _ANY_CALL.fullmatch(text)
        if len(choices) == 1 and call is not None and _is_balanced(call[1]):
            choices = _split(call[1]) if not text.startswith("gap(") else []
        if choices != [text] and depth < _DEEPEST:
            extents = [self._extent(choice, depth + 1) for choice in choices]
            parts = [part for part in extents if part is not None]
            if not parts:
                return None
            return Part(min(p.start for p in parts), max(p.end for p in parts), PLUS)
        own_text = _REMOTE_ANYWHERE.sub("", text)
        low, high = _sides(own_text)
        first, last = _numbers(low), _numbers(high)
        if own_text and not (first and last):
            self._is_unbounded = True
        if not first and not last:
            return None
        if min(first or last) <= max(last or first):
            return self._part(min(first + last), max(first + last), PLUS)
        return self._part(min(first), max(last), PLUS)

    def _part(self, first: int, last: int, strand: int) -> Part:
        if first < 1 or last < 1:
            raise LocationError(f"has base {min(first, last)}, and bases are counted from 1")
        if first <= last:
            return Part(first - 1, last, strand)
        words = f"runs backwards, from base {first:,} to {last:,}"
        if not self._circular:
            raise LocationError(f"{words}, and its record is not marked as a circle")
        if self._length is None:
            raise LocationError(f"{words}, and the length of its record is not stated")
        if first > self._length:
            raise LocationError(f"{words}, and its record has {self._length:,} bases")
        return Part(first - 1, self._length + last, strand)


def _is_balanced(text: str) -> bool:
    """Return True if all brackets are paired."""
    if "(" not in text and ")" not in text:
        return True
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0


def _split(text: str) -> list[str]:
    """Split at commas outside brackets."""
    if "(" not in text:
        return text.split(",")
    pieces, depth, start = [], 0, 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            pieces.append(text[start:position])
            start = position + 1
    return [*pieces, text[start:]]


def _sides(text: str) -> tuple[str, str]:
    """Split at the first `..` or `^` outside brackets; without one, return the text twice."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and letter == "^":
            return text[:at], text[at + 1 :]
        if depth == 0 and text.startswith("..", at):
            return text[:at], text[at + 2 :]
    return text, text


def _numbers(text: str) -> list[int]:
    numbers = re.findall(r"[0-9]+", text)
    if any(len(number) > _LONGEST_NUMBER for number in numbers):
        raise LocationError("has a base that no record has")
    return [int(number) for number in numbers]
