"""Sequence files as they go wrong: seeded, and a naive reader that says what a good one holds."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable

_LETTERS = b"ACGTacgtNUuRYKM"
_ODD = (
    b"\0", b"\r", b"\n", b"\r\n", b">", b"@", b"+", b";", b" ", b"\t", b"-", b".", b"*", b"X",
    b"\xff", b"\xef\xbb\xbf", "é".encode(), b"\n>\n", b"\n\n", b"\n>", b"\n@r\nAC\n+\n!!\n",
    b"\x1f\x8b", b"BZh9", b"\xe2\x80\xa8", b"\x0b", b"\x1c", b"\n+\n", b"MKV", b">" * 70,
)  # fmt: skip
_PACKERS: tuple[Callable[[bytes], bytes], ...] = (
    lambda content: gzip.compress(content, 1, mtime=0),
    lambda content: bz2.compress(content, 1),
    lambda content: lzma.compress(content, preset=0),
)

Records = list[tuple[str, int]]


def malformed(seed: int) -> tuple[bytes, bytes]:
    """The bytes of a file, and the text that was packed into them if they were not harmed since.

    About a third of the files are good.
    """
    draw = random.Random(seed)
    content = draw.choice((_fasta, _fasta, _fastq, _noise))(draw)
    for _ in range(draw.choice((0, 0, 0, 1, 1, 2, 5))):
        content = _harmed(content, draw)
    text = content
    if draw.random() < 0.25:
        content = draw.choice(_PACKERS)(content)
        if draw.random() < 0.5:
            content, text = _harmed(content, draw), b""
    return content, text


def _fasta(draw: random.Random) -> bytes:
    parts = []
    end = draw.choice((b"\n", b"\n", b"\r\n"))
    for number in range(draw.randrange(8)):
        name = draw.choice((b"", b"a", b"dup", b"r%d" % number, b"x y z", b" lead", b"q" * 300))
        parts.append(b">" + name + end)
        sizes = (draw.choice((0, 1, 7, 60, 130)) for _ in range(draw.randrange(4)))
        parts += [_dna(draw, size) + end for size in sizes]
    return b"".join(parts)[: None if draw.random() < 0.8 else -1]


def _fastq(draw: random.Random) -> bytes:
    parts = []
    for number in range(draw.randrange(6)):
        dna = _dna(draw, draw.choice((0, 1, 5, 80)))
        quality = bytes(draw.randrange(33, 74) for _ in dna)
        parts.append(b"@r%d d\n%s\n+\n%s\n" % (number, dna, quality))
    return b"".join(parts)


def _noise(draw: random.Random) -> bytes:
    return b"".join(draw.choice((*_ODD, b"ACGT", b">r\n")) for _ in range(draw.randrange(12)))


def _dna(draw: random.Random, length: int) -> bytes:
    if draw.random() < 0.1:
        return b"N" * length
    return bytes(draw.choice(_LETTERS) for _ in range(length))


def _harmed(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content) + 1)
    to = min(len(content), at + draw.choice((1, 1, 4, 50)))
    kind = draw.randrange(6)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + draw.choice(_ODD) + content[at:]
    if kind == 2:
        return content[:at] + content[to:]
    if kind == 3:
        return content[:at] + content[at:to] * 2 + content[to:]
    if kind == 4:
        return content[:at] + bytes(draw.randrange(256) for _ in range(to - at)) + content[to:]
    return content[at:] + content[:at]


def naive_records(text: bytes) -> Records:
    """Id and bases of every record of a good file, read in the plainest way there is."""
    lines = [
        line.removesuffix(b"\r").removeprefix(b"\xef\xbb\xbf").strip(b" \t\v\f")
        for line in text.split(b"\n")
    ]
    first = next((line for line in lines if line and not line.startswith(b";")), b"")
    if first.startswith(b"@"):
        return _naive_fastq(lines[lines.index(first) :])
    records: list[tuple[str, int]] = []
    for line in lines:
        if line.startswith(b">"):
            records.append((_name(line, len(records) + 1), 0))
        elif records and not line.startswith(b";"):
            records[-1] = (records[-1][0], records[-1][1] + len(line))
    return records


def _naive_fastq(lines: list[bytes]) -> Records:
    records: Records = []
    while lines:
        header = lines.pop(0)
        if not header:
            continue
        size = num_qualities = 0
        while not lines[0].startswith(b"+"):
            size += len(lines.pop(0))
        lines.pop(0)
        while num_qualities < size:
            num_qualities += len(lines.pop(0))
        records.append((_name(header, len(records) + 1), size))
    return records


def _name(header: bytes, number: int) -> str:
    words = header[1:].split()
    return words[0].decode("utf-8") if words else f"record_{number}"
