"""Seeded mutation of valid files: bytes, lines and values replaced by what breaks readers."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable
from typing import Any

# Pieces that readers stumble over: numbers at limits, nesting, encodings, ends of lines.
PIECES = (
    b"\0", b"\r", b"\n", b"\r\n", b"\t", b" ", b"\xff", b"\xef\xbb\xbf", b"\xc3\xa9",
    b"\xed\xa0\x80",
    b"\xe2\x80\xae", b"\x1b[31m", b"-1", b"0", b"1", b"9" * 20, b"9" * 400, b"1e400", b"-1e400",
    b"NaN", b"nan", b"Infinity", b"-inf", b"null", b"true", b"[]", b"{}", b"[" * 300, b"]" * 300,
    b'{"a":' * 200, b'"', b"'", b"\\", b"\\u0000", b"\\ud800", b",", b";", b":", b".", b"..", b"/",
    b"<", b">", b"^", b"|", b"(", b")", b"=", b"%", b"%00", b"#", b"##", b"//", b"@", b"+", b"*",
    b"join(", b"complement(", b"2147483648", b"9223372036854775808", b"18446744073709551616",
    b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", b"(\xb5/\xfd", b"PK\x03\x04",
)  # fmt: skip
# Values that take the place of others in JSON.
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, float("nan"), 10**20, 10**400, "", "x", "²", "\ud800", "a" * 5000, [],
    [None], ["x"], [[]], {}, {"x": 1}, {"": {}}, 2**31, 2**63, "1e400", "9" * 30,
)  # fmt: skip
LONGEST = 1 << 15
_DIGITS = re.compile(rb"[0-9]+")


def mutate(content: bytes, draw: random.Random) -> bytes:
    """Return the content with one to eight changes; JSON also with values of other types."""
    changed = bytearray(content)
    if content[:1] == b"{" and draw.randrange(2):
        changed[:] = b"\n".join(_replace_value(line, draw) for line in content.split(b"\n"))
        if draw.randrange(4):
            return bytes(changed[:LONGEST])
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        _change(changed, draw)
    return bytes(changed[:LONGEST])


def _replace_value(text: bytes, draw: random.Random) -> bytes:
    """Replace a value of a JSON document, so that types are reached beyond the syntax."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    # Places of all values: the container and the key in it.
    places: list[tuple[Any, Any]] = [([value], 0)]
    for container, key in places:
        inner = container[key]
        places += [(inner, key) for key in _keys(inner)]
    container, key = draw.choice(places)
    container[key] = draw.choice(VALUES)
    return json.dumps(places[0][0][0], ensure_ascii=False).encode("utf-8", "surrogatepass")


def _keys(value: object) -> Iterable[Any]:
    return (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )


def _change(content: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(content) + 1)
    stop = min(len(content), place + draw.choice((0, 1, 1, 2, 4, 16, 64, 1000)))
    match draw.randrange(9):
        case 0:
            content[place:stop] = b""
        case 1:
            content[place:stop] = draw.choice(PIECES)
        case 2:
            content[place:place] = draw.choice(PIECES)
        case 3:
            content[place:stop] = draw.randbytes(stop - place)
        case 4:
            content[place:place] = content[place:stop] * draw.choice((1, 2, 50))
        case 5:
            del content[place:]
        case 6 if place < len(content):
            content[place] ^= 1 << draw.randrange(8)
        case 7:
            lines = bytes(content).split(b"\n")
            draw.shuffle(lines)
            content[:] = b"\n".join(lines)
        case _:
            _replace_number(content, draw)


def _replace_number(content: bytearray, draw: random.Random) -> None:
    """Replace a run of digits, so that formats of numbers are reached beyond their syntax."""
    runs = [match.span() for match in _DIGITS.finditer(content)]
    if not runs:
        return
    start, stop = draw.choice(runs)
    content[start:stop] = draw.choice((*PIECES[12:22], str(draw.randrange(100)).encode()))
