"""The command `windows` on annotation of one contig, and the rows that it wrote."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from tests.cli import RunCommand
from tests.corpora import random_dna

LENGTH = 1200
DNA = random_dna(LENGTH, seed=4)
SMALL = ("--promoter", "20,10", "--terminator", "10,20", "--margin", "5")

Row = dict[str, str]


class Cut:
    """Runs `windows` on texts, and reads what it wrote."""

    def __init__(self, run: RunCommand, folder: Path) -> None:
        self._run = run
        self._folder = folder
        (folder / "ctg.fa").write_text(f">ctg1 a\n{DNA}\n", encoding="utf-8")
        self.err = ""
        self.result: dict[str, Any] = {}
        self.sequences: list[str] = []

    def finish(self, text: str | bytes, *options: str, fasta: bool) -> Any:
        path = self._folder / "annotation"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        line = ["windows", "--gff", str(path), "-o", str(self._folder / "x"), "--force"]
        if fasta:
            line += ["--fasta", str(self._folder / "ctg.fa")]
        return self._run(*line, *options, "--json")

    def rows(
        self, text: str | bytes, classes: str, *options: str, length: int = 60, fasta: bool = False
    ) -> list[Row]:
        choice = ("--classes", classes, "--length", str(length), *options)
        done = self.finish(text, *choice, fasta=fasta)
        assert done.exit_code == 0, done.err
        self.err = done.err
        (self.result,) = json.loads(done.out)["genomes"]
        letters = (self._folder / "x.fa").read_text(encoding="utf-8").splitlines()
        self.sequences = letters[1::2]
        with (self._folder / "x.tsv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))


def bases(rows: list[Row], label: str) -> set[int]:
    found = [row for row in rows if row["label"] == label]
    return {at % LENGTH for row in found for at in range(int(row["start"]), int(row["end"]))}


def span(first: int, last: int) -> set[int]:
    """Bases as 1-based coordinates, both included, give them."""
    return set(range(first - 1, last))


ALL = "coding,promoter,terminator,intergenic"
