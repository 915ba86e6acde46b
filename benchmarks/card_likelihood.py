"""Bits per base of a model, its random twin and the strongest count table, by group of genomes.

Held-out files (`validation_*`) are cut into windows; one in five of each genome selects its table
and is not scored. Tables of up to 12 neighbours a side are counted on the model's own corpus and on
each group of it, and on each group together with files that the model has not read.
Shape letters: W windows, L length, N queries.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.evaluation.counts import (
    CorpusCounter,
    CountedScores,
    Subset,
    best_tables,
)
from genomeformer_cli.core.evaluation.held_out_segments import CHAR
from genomeformer_cli.core.evaluation.held_out_sequences import HeldOutSequence, cut_sequences
from genomeformer_cli.core.evaluation.likelihood import score_windows
from genomeformer_cli.core.evaluation.masked_queries import Queries, all_queries, sparse_queries
from genomeformer_cli.core.evaluation.token_scores import bootstrap_mean
from genomeformer_cli.core.evaluation.wide_counts import ContextQueries, Sides
from genomeformer_cli.core.formats.fasta import read_records
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.objectives.registry import objective_for
from genomeformer_cli.core.sequence import Codes, encode_bases

Arrays = dict[str, npt.NDArray[Any]]
Unit = Callable[[str, Mapping[str, object], Callable[[], Arrays]], Arrays]
Table = Mapping[str, Mapping[str, str]]
CHUNK = 1 << 20
CHOICE_ONE_IN = 5
PASSES = 4
GROUPS = {"bac": "bacteria", "arc": "archaea"}
SMALL, EUKARYOTES, HUMAN = "phages, plasmids and organelles", "other eukaryotes", "human"
PROKARYOTES = "all prokaryotes"


@dataclass(frozen=True, kw_only=True)
class LikelihoodConfig:
    """Settings of the scores on held-out genomes."""

    num_windows: int = 24  # Scored windows of a genome, at most.
    corpus_files: tuple[str, ...]  # Names of the files of the model's corpus, without endings.
    identity: Mapping[str, str]  # Digests of the model and of the data.

    @property
    def inputs(self) -> dict[str, object]:
        """What a saved result depends on."""
        return {**self.identity, "windows": self.num_windows, "corpus": self.corpus_files}


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows of all held-out genomes and the queried bases in them."""

    queries: Queries
    part_W: npt.NDArray[np.int64]  # Genome of each window, an index into `parts`.
    is_scored_W: npt.NDArray[np.bool_]  # False for the windows that select a table.
    parts: tuple[str, ...]  # Names of the genomes.
    groups: tuple[str, ...]  # Group of each genome.

    def scored(self, part: int) -> Queries:
        """Return the scored windows of a genome."""
        rows = self.is_scored_W & (self.part_W == part)
        return replace(
            self.queries,
            tokens_WL=self.queries.tokens_WL[rows],
            hidden_PWL=self.queries.hidden_PWL[:, rows],
        )


def read_table(data: Path) -> Table:
    """Return the rows of `genomes.tsv` by id; none if the folder has no such file."""
    path = data / "genomes.tsv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file, delimiter="\t")}


def sequence_files(data: Path, prefix: str) -> list[Path]:
    """Return the FASTA files of a folder that begin with a prefix."""
    paths = [path for path in data.glob(f"{prefix}*") if ".fa" in path.name]
    return sorted(path for path in paths if path.is_file())


def group_of(record: str, path: Path, table: Table) -> str:
    """Return the group of a record; without a row of the table, the name of its file."""
    row = table.get(record.partition("|")[0])
    if row is None:
        return path.name.partition(".")[0].partition("_")[2]
    if row["group"] in GROUPS:
        return GROUPS[row["group"]]
    if row["group"] != "euk":
        return SMALL
    return HUMAN if row["species"].startswith("Homo ") else EUKARYOTES


def held_out_sequences(data: Path) -> tuple[list[HeldOutSequence], dict[str, str]]:
    """Return the held-out records under the names of their genomes, and the group of each genome.

    Raises:
        InputError: The folder holds no held-out file.
    """
    table = read_table(data)
    sequences, groups = [], {}
    for path in sequence_files(data, "validation_"):
        for record in read_records(path):
            row = table.get(record.id.partition("|")[0])
            group = group_of(record.id, path, table)
            name = row["species"] if row else group
            groups[name] = group
            codes = encode_bases(record.sequence)
            sequences.append(HeldOutSequence(group=name, record=record.id, codes=codes))
    if not sequences:
        raise InputError(
            f"`{data}` holds no file `validation_*.fa`", hint="give the folder of the genomes"
        )
    return sequences, groups


def cut_windows(model: Model, data: Path, num_windows: int) -> Windows:
    """Cut the held-out genomes into windows of the model's context."""
    objective = objective_for(model.config.direction)
    assert not objective.is_causal, "the default model sees both sides"
    sequences, groups = held_out_sequences(data)
    length = model.config.context
    most = num_windows * CHOICE_ONE_IN // (CHOICE_ONE_IN - 1)
    windows = cut_sequences(sequences, CHAR, length=length, max_windows=most)
    tokens_WL, real_ids = windows.tokens_WT, CHAR.real_ids
    if objective.hides_targets:
        queries = sparse_queries(tokens_WL, real_ids, PASSES)
    else:
        queries = all_queries(tokens_WL, real_ids)
    is_scored_W = np.ones(len(tokens_WL), dtype=np.bool_)
    for part in range(len(windows.groups)):
        rows = np.flatnonzero(windows.groups_W == part)
        # A genome of one window selects its table on what it is scored on.
        is_scored_W[rows[CHOICE_ONE_IN // 2 :: CHOICE_ONE_IN]] = rows.size == 1
    return Windows(
        queries=queries,
        part_W=windows.groups_W,
        is_scored_W=is_scored_W,
        parts=windows.groups,
        groups=tuple(groups[name] for name in windows.groups),
    )


def training_records(paths: Sequence[Path], table: Table) -> Iterator[tuple[str, Codes]]:
    """Yield the group and the bases of every record, once."""
    seen = set()
    for path in paths:
        for record in read_records(path):
            if record.id not in seen:
                seen.add(record.id)
                yield group_of(record.id, path, table), encode_bases(record.sequence)


def count(
    records: Iterator[tuple[str, Codes]], groups: list[str], queries: ContextQueries, num_bases: int
) -> CorpusCounter:
    """Count records, and those of each group; without groups, of all records alone."""
    counter = CorpusCounter(queries, num_bases, Sides.BOTH, groups)
    for group, codes in records:
        for start in range(0, codes.size, CHUNK):
            chunk = codes[start : start + CHUNK + counter.overlap]
            counter.add(chunk, group if groups else "", is_last=start + CHUNK >= codes.size)
    return counter


def corpus_tables(
    paths: Sequence[Path], table: Table, queries: ContextQueries
) -> Iterator[CountedScores]:
    """Yield the scores of the tables of the model's own corpus, and of its groups."""
    sizes = group_sizes(paths, table)
    groups = sorted(sizes) if len(sizes) > 1 else []
    if sizes:
        records = training_records(paths, table)
        yield from count(records, groups, queries, sum(sizes.values())).scores()


def wider_tables(
    corpus: Sequence[Path], others: Sequence[Path], table: Table, queries: ContextQueries
) -> Iterator[CountedScores]:
    """Yield the scores of the tables of groups, together with files that the model has not read."""
    paths = [*corpus, *others]
    own, sizes = group_sizes(corpus, table), group_sizes(paths, table)
    for group, num_bases in sizes.items():
        if num_bases > own.get(group, 0):
            records = (item for item in training_records(paths, table) if item[0] == group)
            unread = 1 - own.get(group, 0) / num_bases
            name = f"{group}, {num_bases / 1e6:.0f} Mb, {unread:.0%} of them unread by the model"
            for scores in count(records, [], queries, num_bases).scores():
                yield replace(scores, group=name)


def group_sizes(paths: Sequence[Path], table: Table) -> dict[str, int]:
    """Return the number of bases of every group."""
    sizes: dict[str, int] = {}
    for group, codes in training_records(paths, table):
        sizes[group] = sizes.get(group, 0) + codes.size
    return sizes


def score_counts(windows: Windows, data: Path, corpus_files: Sequence[str]) -> Arrays:
    """Return the scores of the selected tables of every genome, and what was selected.

    `own` is the table of the model's corpus, `best` that of all data.
    """
    _, windows_N, _ = np.nonzero(windows.queries.hidden_PWL)
    part_N, is_scored_N = windows.part_W[windows_N], windows.is_scored_W[windows_N]
    subsets: dict[Subset, npt.NDArray[np.bool_]] = {}
    choice: dict[Subset, npt.NDArray[np.bool_]] = {}
    for part in range(len(windows.parts)):
        scored_N, choice_N = (part_N == part) & is_scored_N, (part_N == part) & ~is_scored_N
        choice_N = choice_N if choice_N.any() else scored_N
        subsets |= {("scored", str(part)): scored_N, ("choice", str(part)): choice_N}
        choice |= {("scored", str(part)): choice_N, ("choice", str(part)): choice_N}
    table, queries = read_table(data), ContextQueries.of_windows(windows.queries)
    paths = sequence_files(data, "train_")
    corpus = [path for path in paths if path.name.partition(".")[0] in corpus_files]
    others = [path for path in paths if path not in corpus]
    own = best_tables(corpus_tables(corpus, table, queries), subsets, choice)
    wider = best_tables(wider_tables(corpus, others, table, queries), subsets, choice)
    arrays: Arrays = {}
    for name in map(str, range(len(windows.parts))):
        if own:
            _keep(arrays, f"own {name}", own["scored", name])
        candidates = [tables for tables in (own, wider) if tables]
        if candidates:
            best = min(candidates, key=partial(_choice_bits, name))
            _keep(arrays, f"best {name}", best["scored", name])
    return arrays


def _choice_bits(name: str, tables: Mapping[Subset, CountedScores]) -> float:
    return float(tables["choice", name].scores.bits_N.mean())


def _keep(arrays: Arrays, name: str, table: CountedScores) -> None:
    arrays[f"bits {name}"] = table.scores.bits_N
    arrays[f"table {name}"] = np.array([str(table.order), table.group])


def score_model(model: Model, windows: Windows, part: int) -> Arrays:
    """Return the scores of a model on the scored windows of a genome."""
    scores = score_windows(model, windows.scored(part))
    return {"bits": scores.bits_N, "correct": scores.correct_N}


def measure_likelihood(
    models: Mapping[str, Model], data: Path, config: LikelihoodConfig, unit: Unit
) -> list[dict[str, Any]]:
    """Return one row per genome, and one of all prokaryotes.

    Args:
        models: The model and its random twin, as `model` and `random`.
        data: Folder of the genomes.
        config: Settings.
        unit: Returns saved arrays, or computes and saves them.
    """
    windows = cut_windows(models["model"], data, config.num_windows)
    counts = unit("counts", config.inputs, lambda: score_counts(windows, data, config.corpus_files))
    columns: dict[str, list[Arrays]] = {
        source: [
            unit(f"bits {source} {name}", config.inputs, partial(score_model, model, windows, part))
            for part, name in enumerate(windows.parts)
        ]
        for source, model in models.items()
    }
    rows = [_row([part], windows, columns, counts) for part in range(len(windows.parts))]
    prokaryotes = [part for part, group in enumerate(windows.groups) if group in GROUPS.values()]
    if len(prokaryotes) > 1:
        rows.insert(0, _row(prokaryotes, windows, columns, counts))
    return rows


def _row(
    parts: list[int], windows: Windows, columns: Mapping[str, list[Arrays]], counts: Arrays
) -> dict[str, Any]:
    """Return bits and gains of genomes side by side, with intervals over windows."""
    owners = [np.nonzero(windows.scored(part).hidden_PWL)[1] for part in parts]
    offsets = np.cumsum([0, *(int(owner.max()) + 1 for owner in owners)])
    windows_N = np.concatenate([o + offset for o, offset in zip(owners, offsets, strict=False)])

    def joined(arrays: Mapping[str, npt.NDArray[Any]], key: str) -> npt.NDArray[np.float64]:
        return np.asarray(arrays[key], dtype=np.float64)

    bits = {
        source: np.concatenate([joined(scores[part], "bits") for part in parts])
        for source, scores in columns.items()
    }
    correct = np.concatenate([joined(columns["model"][part], "correct") for part in parts])
    for table in ("own", "best"):
        if f"bits {table} {parts[0]}" in counts:
            bits[table] = np.concatenate([joined(counts, f"bits {table} {p}") for p in parts])
    generator = np.random.default_rng([len(parts), parts[0], 43])

    def mean(values_N: npt.NDArray[np.float64]) -> list[float]:
        interval = bootstrap_mean(values_N, windows_N, generator)
        return [round(float(x), 4) for x in (interval.value, interval.low, interval.high)]

    row: dict[str, Any] = {
        "part": windows.parts[parts[0]] if len(parts) == 1 else PROKARYOTES,
        "group": windows.groups[parts[0]] if len(parts) == 1 else "",
        "num_genomes": len(parts),
        "num_bases": int(windows_N.size),
        "num_windows": int(offsets[-1]),
        "accuracy": mean(correct),
        "bits": {source: mean(values) for source, values in bits.items()},
        "gains": {
            source: mean(values - bits["model"])
            for source, values in bits.items()
            if source != "model"
        },
        "tables": {},
    }
    for table in ("own", "best"):
        if table in bits and len(parts) == 1:
            order, group = counts[f"table {table} {parts[0]}"].tolist()
            row["tables"][table] = {"order": int(order), "counted_on": group or "whole corpus"}
    return row
