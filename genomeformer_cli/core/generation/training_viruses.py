"""Viruses that may infect eukaryotes among the training sequences of a model."""

from __future__ import annotations

import re
from pathlib import Path

from genomeformer_cli.core.errors import GenomeformerError
from genomeformer_cli.core.genomes.lockfile import LOCK_NAME, LockRow, read_lock

_CARD_NAME = "README.md"
_VIRUS = re.compile(r"\b[\w-]*(?:virus|viruses|viridae|viroid|viroids|virales)\b", re.IGNORECASE)
_PHAGE = re.compile(r"phage", re.IGNORECASE)
# Taxa of viruses of bacteria and archaea.
_PHAGE_TAXA = frozenset(
    ("Caudoviricetes", "Faserviricetes", "Leviviricetes", "Malgrandaviricetes", "Tectiliviricetes")
)
_DENIAL = re.compile(r"\b(?:no|not|non|none|never|without|exclud\w+|remov\w+|filter\w+)\b", re.I)


def suspected_virus(folder: Path) -> str | None:
    """Return the name of a virus that a model was trained on; None if its bundle lists none.

    The list of genomes of the bundle counts: names with `virus` and without `phage`, unless the
    lineage is one of viruses of bacteria. Without a list, the text of the model card counts:
    sentences with such a name that deny nothing. A suspicion costs a warning only.
    """
    try:
        rows = read_lock(folder / LOCK_NAME)
    except (GenomeformerError, OSError):
        return _of_card(folder / _CARD_NAME)
    return min((name for row in rows if (name := _of_row(row))), default=None)


def _of_row(row: LockRow) -> str | None:
    taxa = {ancestor.name for ancestor in row.lineage}
    if taxa & _PHAGE_TAXA:
        return None
    for name in (row.organism, *row.descriptions):
        if (_VIRUS.search(name) or "Viruses" in taxa) and not _PHAGE.search(name):
            return name
    return None


def _of_card(card: Path) -> str | None:
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    for sentence in re.split(r"[.;]\s|\n", text):
        match = _VIRUS.search(sentence)
        if match and not _PHAGE.search(sentence) and not _DENIAL.search(sentence):
            return match.group()
    return None
