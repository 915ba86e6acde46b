"""Windows of hosts and phages, with related genomes on one side of the split.

Every record of the group `phage` is a genome of its own. Hosts of one genus, and phages that share
21-mers directly or through other phages, are related. A region is one window of the longest length,
and several of each shorter one.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.tasks import Task
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.formats.labelled import Example
from genomeformer_cli.core.sequence import (
    NUM_REAL_BASES,
    Codes,
    decode_bases,
    encode_bases,
    reverse_complement_codes,
)
from genomeformer_cli.core.store.atomic import write_text

HOST_GROUPS, PHAGE_GROUP = ("bac", "arc"), "phage"
HOST, PHAGE = "host", "phage"
SHARES = {"train": 0.5, "val": 0.15, "test": 0.35}
PART = 2_000
LENGTHS = (2_000, 4_000, 8_000)
SKETCH_K, SHARED = 21, 0.05


@dataclass(frozen=True, kw_only=True)
class PhageHostConfig:
    """Settings of the task."""

    regions: int = 150  # Regions of the longest length, of both classes and all splits.
    lengths: tuple[int, ...] = LENGTHS  # Window lengths; multiples of `part`.
    part: int = PART  # Bases of a part.
    seed: int = 0  # Seed of the split and the draws.
    precision: Literal["fp32", "int8"] = "int8"  # Precision of the products of either model.


@dataclass(kw_only=True)
class Genome:
    """Genome of one class."""

    name: str  # Id of a host, or id and record of a phage.
    label: str  # `host` or `phage`.
    family: str  # Related genomes have one name.
    records: list[Codes] = field(default_factory=list)


def read_genomes(data: Path) -> list[Genome]:
    """Read the hosts and phages of a folder.

    Raises:
        InputError: The folder has no table, or the files have no hosts or no phages.
    """
    table = data / "genomes.tsv"
    if not table.is_file():
        raise InputError(f"`{data}` has no `genomes.tsv`", hint="give the folder of the genomes")
    with table.open(encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file, delimiter="\t")}
    wanted = {
        name: row for name, row in rows.items() if row["group"] in (*HOST_GROUPS, PHAGE_GROUP)
    }
    genomes: dict[str, Genome] = {}
    for path in sorted({data / row["file"] for row in wanted.values()}):
        for record in read_records(path) if path.is_file() else ():
            identifier = record.id.partition("|")[0]
            if identifier not in wanted:
                continue
            row = wanted[identifier]
            is_phage = row["group"] == PHAGE_GROUP
            name = record.id if is_phage else identifier
            family = "" if is_phage else row.get("genus") or identifier
            label = PHAGE if is_phage else HOST
            genome = genomes.setdefault(name, Genome(name=name, label=label, family=family))
            genome.records.append(encode_bases(record.sequence))
    phages = [genome for genome in genomes.values() if genome.label == PHAGE]
    if not phages or len(phages) == len(genomes):
        raise InputError(
            f"the files of `{table}` hold {len(phages)} phages and {len(genomes) - len(phages)} "
            "hosts",
            hint=f"groups of hosts are {', '.join(HOST_GROUPS)}; that of phages is {PHAGE_GROUP}",
        )
    name_families(phages)
    return list(genomes.values())


def name_families(phages: Sequence[Genome]) -> None:
    """Give phages that share 21-mers, directly or through other phages, one family name."""
    sketches = [sketch(genome.records) for genome in phages]
    parents = list(range(len(phages)))

    def root(index: int) -> int:
        while parents[index] != index:
            index = parents[index]
        return index

    for first in range(len(phages)):
        for second in range(first):
            shared = np.intersect1d(sketches[first], sketches[second], assume_unique=True).size
            smaller = min(sketches[first].size, sketches[second].size)
            if smaller and shared >= SHARED * smaller:
                parents[root(first)] = root(second)
    for index, genome in enumerate(phages):
        genome.family = phages[root(index)].name


def sketch(records: Sequence[Codes]) -> npt.NDArray[np.uint64]:
    """Return the smaller hash of each 21-mer and its reverse complement, one hash in 64."""
    hashes = []
    for codes in records:
        strands = []
        for strand in (codes, reverse_complement_codes(codes)[::-1]):
            step = 1 if strand is codes else -1
            keys = np.zeros(max(codes.size - SKETCH_K + 1, 0), dtype=np.uint64)
            for offset in range(SKETCH_K)[::step]:
                keys = keys * np.uint64(4) + (strand[offset : offset + keys.size] & 3)
            strands.append(keys)
        mixed = np.minimum(*strands) * np.uint64(0x9E3779B97F4A7C15)
        hashes.append(mixed[mixed >> np.uint64(58) == 0])
    return np.unique(np.concatenate(hashes))


def split_genomes(genomes: Sequence[Genome], seed: int) -> dict[str, str]:
    """Return the split of every genome; families stay together, classes are split alike.

    A family goes to the split that lacks the largest part of its share.
    """
    generator = np.random.default_rng([seed, 31])
    splits: dict[str, str] = {}
    for label in (HOST, PHAGE):
        of_label = [genome for genome in genomes if genome.label == label]
        families: dict[str, list[str]] = defaultdict(list)
        for genome in of_label:
            families[genome.family].append(genome.name)
        names = sorted(families)
        order = [names[index] for index in generator.permutation(len(names))]
        filled = dict.fromkeys(SHARES, 0)
        for family in sorted(order, key=lambda name: -len(families[name])):
            split = max(SHARES, key=lambda name: SHARES[name] * len(of_label) - filled[name])
            filled[split] += len(families[family])
            splits |= dict.fromkeys(families[family], split)
    return splits


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Drawn regions of the longest length."""

    codes: tuple[Codes, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]
    genomes: tuple[str, ...]


def draw_regions(genomes: Sequence[Genome], config: PhageHostConfig) -> Regions:
    """Draw as many regions of either class in every split, evenly over the genomes.

    Raises:
        InputError: A split has no region of a class.
    """
    splits = split_genomes(genomes, config.seed)
    length = max(config.lengths)
    rows: list[tuple[Codes, str, str, str]] = []
    for split, share in SHARES.items():
        drawn = {
            label: list(
                _draw(
                    [g for g in genomes if g.label == label and splits[g.name] == split],
                    length,
                    round(config.regions * share / 2),
                    config.seed,
                )
            )
            for label in (HOST, PHAGE)
        }
        number = min(map(len, drawn.values()))
        if not number:
            raise InputError(
                f"too few genomes of {length:,} bases for the {split} rows",
                hint="give more genomes, or fewer regions",
            )
        rows += [
            (codes, label, split, name)
            for label, regions in drawn.items()
            for codes, name in regions[:number]
        ]
    codes, labels, split_names, names = zip(*rows, strict=True)
    return Regions(codes=codes, labels=labels, splits=split_names, genomes=names)


def _draw(
    genomes: Sequence[Genome], length: int, number: int, seed: int
) -> Iterator[tuple[Codes, str]]:
    """Draw regions without unknown bases that do not overlap, one genome after the other."""
    generator = np.random.default_rng([seed, 37])
    slots = []
    for genome in genomes:
        of_genome = [
            region
            for codes in genome.records
            for start in range(0, codes.size - length + 1, length)
            if (region := codes[start : start + length]).max() < NUM_REAL_BASES
        ]
        order = generator.permutation(len(of_genome))[:number]
        slots.append([(of_genome[index], genome.name) for index in order])
    depth = max(map(len, slots), default=0)
    queue = [
        of_genome[turn] for turn in range(depth) for of_genome in slots if turn < len(of_genome)
    ]
    yield from queue[:number]


def make_task(regions: Regions, length: int) -> tuple[Task, list[Codes]]:
    """Return the windows of one length, as a task and as codes."""
    examples, windows = [], []
    for index, codes in enumerate(regions.codes):
        for start in range(0, codes.size, length):
            window = codes[start : start + length]
            windows.append(window)
            examples.append(
                Example(
                    id=f"{regions.genomes[index]}.{index}.{start}",
                    sequence=decode_bases(window),
                    label=regions.labels[index],
                    split=regions.splits[index],
                    group=regions.genomes[index],
                )
            )
    name = f"phage_host_{length // 1000}kb" if length >= 1000 else f"phage_host_{length}"
    return Task(name=name, examples=tuple(examples)), windows


def write_tasks(regions: Regions, config: PhageHostConfig, folder: Path) -> None:
    """Write one table per length, and their index."""
    index = ["task\trows"]
    for length in config.lengths:
        task, _ = make_task(regions, length)
        lines = ["id\tsequence\tlabel\tsplit\tgroup"]
        lines += [
            f"{row.id}\t{row.sequence}\t{row.label}\t{row.split}\t{row.group}"
            for row in task.examples
        ]
        write_text(folder / f"{task.name}.tsv", "\n".join(lines) + "\n")
        index.append(f"{task.name}\t{len(task.examples)}")
    write_text(folder / "INDEX.tsv", "\n".join(index) + "\n")
