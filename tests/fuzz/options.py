"""Command lines with odd values for every option of every command."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import typer.main

from genomeformer_cli.app import app

VALUES = (
    "nan", "inf", "-inf", "-1", "0", "1e400", "-1e-400", "9" * 20, "9" * 400, "1.5", "", " ", "x",
    "é\x1b[31m[red]", "\udcff", "../..", "/dev/null", "a:b", "1:0", "a=b", "=", ",", "-", "--",
    "%s", "{}",
    "[[[[", "true", "None", "1e9999G", "0x10", "٣", "a" * 5000,
)  # fmt: skip


def base_lines(folder: Path) -> dict[str, list[str]]:
    """Return a small, valid command line per command."""
    fasta, table, vcf = folder / "a.fa", folder / "a.tsv", folder / "a.vcf"
    fasta.write_text(">a\nACGTACGTTTGACGTACGAGT\n>b\nGGATCGAT\n", encoding="utf-8")
    rows = "".join(f"{'ACGTT' * 4}\t{n % 2}\n{'GGATC' * 4}\t{n % 2}\n" for n in range(6))
    table.write_text("sequence\tlabel\n" + rows, encoding="utf-8")
    vcf.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\na\t3\t.\tG\tT\n")
    gff = folder / "a.gff"
    gff.write_text("##gff-version 3\na\tx\tgene\t1\t9\t.\t+\t.\tID=g\n", encoding="utf-8")
    return {
        "fetch": ["fetch", "--offline", "--taxon", "9606"],
        "tokenize": ["tokenize", "--name", "odd"],
        "windows": ["windows", str(fasta), str(gff), "-o", str(folder / "w")],
        "pretrain": ["pretrain", "--corpus", "phage", "--name", "odd", "--show-config"],
        "compare": ["compare", "--name", "odd"],
        "embed": ["embed", str(fasta), "--model", "run", "-o", str(folder / "e.npy")],
        "evaluate": ["evaluate", "run", "-o", str(folder / "report")],
        "score": ["score", str(fasta), "--model", "run", "-o", str(folder / "s.tsv")],
        "finetune": ["finetune", str(table), "--model", "run", "--name", "t", "--steps", "1"],
        "predict": ["predict", str(fasta), "--model", "run", "-o", str(folder / "p.tsv")],
        "release": ["release", "run", "-o", str(folder / "bundle")],
    }


def options_of(command: str) -> list[tuple[str, bool]]:
    """Return the options of a command, and whether each takes a value."""
    group = typer.main.get_command(app)
    found = group.commands[command]  # type: ignore[attr-defined]
    return [
        (parameter.opts[-1], not parameter.is_flag)
        for parameter in found.params
        if parameter.param_type_name == "option"
    ]


def command_lines(folder: Path) -> Iterator[list[str]]:
    """Yield every option of every command with every odd value, in a fixed random order."""
    lines = base_lines(folder)
    pairs = [
        [*line, option, *([value] if takes else [])]
        for command, line in lines.items()
        for option, takes in options_of(command)
        for value in (VALUES if takes else ("",))
    ]
    random.Random(0).shuffle(pairs)
    yield from pairs
