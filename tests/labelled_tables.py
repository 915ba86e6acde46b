"""Labelled tables written on the spot, and their rows as `finetune` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genomeformer_cli.core.finetuning.dataset import LabelledRows
from genomeformer_cli.core.workflows.finetune import FinetuneRequest, read_rows
from tests.corpora import random_dna
from tests.reporters import Listening


def table(
    folder: Path, labels: Sequence[str], *, name: str = "t.tsv", separator: str = "\t"
) -> Path:
    path = folder / name
    lines = [f"sequence{separator}label"]
    lines += [f"{random_dna(60, row)}{separator}{label}" for row, label in enumerate(labels)]
    path.write_text("\n".join(lines) + "\n")
    return path


def finetuned(path: Path, **options: object) -> tuple[LabelledRows, Listening]:
    listening = Listening()
    request = FinetuneRequest(data=path, **options)  # type: ignore[arg-type]
    return read_rows(request, reporter=listening), listening


def quantities(holes: dict[int, str]) -> list[str]:
    return [holes.get(row, f"{row / 7 - 2:.3f}") for row in range(40)]
