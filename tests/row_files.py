"""Files of rows as people save them: packed, with a byte order mark, blanks, comments; damaged."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable, Sequence

PACKERS: tuple[Callable[[bytes], bytes], ...] = (
    bytes,
    lambda content: gzip.compress(content, 1, mtime=0),
    lambda content: bz2.compress(content, 1),
    lambda content: lzma.compress(content, preset=0),
)
_BOM = b"\xef\xbb\xbf"
_ODD = (
    *(b"\0", b"\r", b"\n", b"\r\n", b" ", b"\t", b",", b";", b"#", b"-", b"+", b".", b"*", b"\xff"),
    *(_BOM, b"\xff\xfe", "é".encode(), b"\xe2\x80\xa8", b"\x0b", b"\x1c", b"\x85", b'"', b"'"),
    *(b"<DEL>", b"[c:1[", b"0", b"9" * 30, b"1e3", b"NaN", b"track", b"browser", b"\n\n", b"_"),
    *(b"\t\t", b"RS_", b"GCF_000005845.2", b"accession", b"\x1f\x8b", b"BZh9", b"chr"),
)


def dressed(lines: Sequence[str], draw: random.Random, *, comments: bool = True) -> bytes:
    """Return the lines as one of many editors would save them.

    Args:
        lines: Rows, in their order.
        draw: Source of randomness.
        comments: True to put comments between the rows.
    """
    end = draw.choice(("\n", "\r\n"))
    text = ""
    for line in lines:
        while draw.random() > 0.8:
            text += draw.choice(("", "   ", "# a comment" if comments else "")) + end
        text += line + " " * draw.choice((0, 0, 2)) + end
    if draw.random() < 0.3:
        text = text.removesuffix(end)
    content = text.encode()
    if draw.random() < 0.3:
        content = _BOM + content
    return draw.choice(PACKERS)(content)


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Return a file after one to five accidents; packed ones may be damaged inside or outside."""
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(len(content) + 1)
        to = min(len(content), at + draw.choice((1, 1, 4, 30)))
        content = draw.choice(
            (
                content[:at] + draw.choice(_ODD) + content[at:],
                content[:at] + draw.choice(_ODD) + content[to:],
                content[:at] + content[to:],
                content[:at] + content[at:to] * 2 + content[to:],
                content[:at] + bytes(draw.randrange(256) for _ in range(to - at)) + content[to:],
                content[at:] + content[:at],
                content[:at],
            )
        )
    packed = draw.choice((*(bytes,) * 6, *PACKERS))(content)
    return packed if draw.random() < 0.9 else packed[: draw.randrange(len(packed) + 1)]


def lines_of(content: bytes) -> list[str]:
    """Return the lines that are not blank or comments, read in the plainest way."""
    for magic, unpack in ((b"\x1f\x8b", gzip.decompress), (b"BZh", bz2.decompress)):
        if content.startswith(magic):
            content = unpack(content)
    if content.startswith(b"\xfd7zXZ"):
        content = lzma.decompress(content)
    lines = content.replace(b"\r\n", b"\n").split(b"\n")
    texts = [line.replace(_BOM, b"").decode("utf-8", errors="replace").strip() for line in lines]
    return [text for text in texts if text and not text.startswith("#")]
