"""Motifs in the minimal text format of the MEME suite, version 4."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.formats.text import read_lines

_MATRIX = "letter-probability matrix"
_FIELD = re.compile(r"(\w+)\s*=\s*(\S+)")
_TOLERANCE = 0.02


@dataclass(frozen=True, kw_only=True)
class MemeMotif:
    """Motif of a MEME file."""

    name: str
    frequencies_WR: npt.NDArray[np.float64]  # Frequencies of A C G T at each position.
    num_sites: int


def meme_text(motifs: Sequence[MemeMotif]) -> str:
    """Return motifs as a MEME file."""
    lines = [
        "MEME version 4",
        "",
        "ALPHABET= ACGT",
        "",
        "strands: +",
        "",
        "Background letter frequencies",
        "A 0.25 C 0.25 G 0.25 T 0.25",
        "",
    ]
    for motif in motifs:
        lines += [
            f"MOTIF {motif.name}",
            f"{_MATRIX}: alength= 4 w= {len(motif.frequencies_WR)} nsites= {motif.num_sites} E= 0",
            *(" ".join(f"{value:.6f}" for value in row) for row in motif.frequencies_WR),
            "",
        ]
    return "\n".join(lines)


def read_meme(path: Path) -> list[MemeMotif]:
    """Read the motifs of a MEME file of any packing.

    Raises:
        InputError: The file cannot be read, or is not a MEME file of DNA motifs.
    """
    lines = (line.text.strip() for line in read_lines(path))
    motifs: list[MemeMotif] = []
    name = ""
    for line in lines:
        if line.startswith("ALPHABET=") and line.partition("=")[2].strip() not in ("ACGT", "DNA"):
            raise InputError(f"`{path}` has motifs of another alphabet than DNA", hint="give ACGT")
        if line.startswith("MOTIF"):
            name = " ".join(line.split()[1:]) or f"motif_{len(motifs) + 1}"
        elif line.startswith(_MATRIX):
            motifs.append(_read_matrix(path, name, line, lines))
    if not motifs:
        raise InputError(
            f"`{path}` has no motif in MEME format",
            hint="each motif needs a line `MOTIF NAME` and a `letter-probability matrix`",
        )
    return motifs


def _read_matrix(path: Path, name: str, header: str, lines: Iterator[str]) -> MemeMotif:
    """Read the rows that follow the header of a matrix.

    Raises:
        InputError: A row is invalid.
    """
    fields = dict(_FIELD.findall(header))
    try:
        width, sites = int(fields["w"]), int(float(fields.get("nsites", "1")))
        rows = [[float(word) for word in next(lines).split()] for _ in range(width)]
        matrix = np.array(rows, dtype=np.float64).reshape(width, 4)
    except (KeyError, ValueError, StopIteration, RuntimeError) as failure:
        raise InputError(
            f"invalid matrix of the motif `{name}` in `{path}`",
            hint="the header gives `w= WIDTH`, and WIDTH rows of four probabilities follow",
        ) from failure
    if not width or (matrix < 0).any() or (np.abs(matrix.sum(axis=1) - 1) > _TOLERANCE).any():
        raise InputError(
            f"the probabilities of the motif `{name}` in `{path}` do not sum to 1",
            hint="give frequencies of A C G T, not counts",
        )
    return MemeMotif(name=name, frequencies_WR=matrix, num_sites=sites)
