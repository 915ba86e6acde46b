"""Bits per base of a model, its random twin and the strongest count table, by group of genomes.

Held-out files (`validation_*`) are cut into windows; every second one of each genome selects its
table and is not scored. Tables of up to 12 neighbours a side are counted on each group of genomes
that the model has read (bacteria, archaea, human, ...), and on each group together with files that
it has not read.
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
from genomeformer_cli.core.sequence import encode_bases

Arrays = dict[str, npt.NDArray[Any]]
Unit = Callable[[str, Mapping[str, object], Callable[[], Arrays]], Arrays]
Table = Mapping[str, Mapping[str, str]]
CHUNK = 1 << 20
CHOICE_ONE_IN = 2
PASSES = 4
GROUPS = {"bac": "bacteria", "arc": "archaea"}
SMALL, EUKARYOTES, HUMAN = "phages, plasmids and organelles", "other eukaryotes", "human"
PROKARYOTES = "all prokaryotes"
CORPUS = "corpus"


@dataclass(frozen=True, kw_only=True)
class LikelihoodConfig:
    """Settings of the scores on held-out genomes."""

    num_windows: int = 16  # Scored windows of a genome, at most.
    corpus: tuple[str, ...]  # Names of the files of the model's corpus, without endings.
    identity: Mapping[str, str]  # Digests of the model and of the data.

    @property
    def inputs(self) -> dict[str, object]:
        """Settings and digests that a saved result depends on."""
        windows = {"windows": self.num_windows, "choice": CHOICE_ONE_IN}
        return {**self.identity, **windows, "corpus": self.corpus}


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
        return self._queries(self.is_scored_W & (self.part_W == part))

    def of(self, parts: Sequence[int]) -> Windows:
        """Return the windows of some genomes."""
        rows = np.isin(self.part_W, parts)
        return replace(
            self,
            queries=self._queries(rows),
            part_W=self.part_W[rows],
            is_scored_W=self.is_scored_W[rows],
        )

    def _queries(self, rows: npt.NDArray[np.bool_]) -> Queries:
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
        is_scored_W[rows[1::CHOICE_ONE_IN]] = rows.size == 1
    return Windows(
        queries=queries,
        part_W=windows.groups_W,
        is_scored_W=is_scored_W,
        parts=windows.groups,
        groups=tuple(groups[name] for name in windows.groups),
    )


def group_files(data: Path, table: Table) -> dict[str, list[Path]]:
    """Return the training files that hold records of each group, by the table or by their names."""
    files: dict[str, list[Path]] = {}
    for path in sequence_files(data, "train_"):
        records = [name for name, row in table.items() if row["file"] == path.name]
        for group in sorted({group_of(record, path, table) for record in records or [""]}):
            files.setdefault(group, []).append(path)
    return files


def count_group(
    group: str, paths: Sequence[Path], table: Table, queries: ContextQueries
) -> Iterator[CountedScores]:
    """Yield the scores of the tables of a group; no scores without a record."""
    records = [
        encode_bases(record.sequence)
        for path in paths
        for record in read_records(path)
        if group_of(record.id, path, table) == group
    ]
    num_bases = sum(codes.size for codes in records)
    counter = CorpusCounter(queries, num_bases, Sides.BOTH)
    for codes in records:
        for start in range(0, codes.size, CHUNK):
            chunk = codes[start : start + CHUNK + counter.overlap]
            counter.add(chunk, is_last=start + CHUNK >= codes.size)
    for scores in counter.scores() if records else ():
        yield replace(scores, group=f"{group}, {num_bases / 1e6:.0f} Mb")


def count_tables(windows: Windows, data: Path, group: str, paths: Sequence[Path]) -> Arrays:
    """Return bits and description of the group's best table for each genome.

    The table is selected on the unscored windows; `choice` is its bits per base there.
    """
    _, windows_N, _ = np.nonzero(windows.queries.hidden_PWL)
    part_N, is_scored_N = windows.part_W[windows_N], windows.is_scored_W[windows_N]
    subsets: dict[Subset, npt.NDArray[np.bool_]] = {}
    choice: dict[Subset, npt.NDArray[np.bool_]] = {}
    for part in np.unique(windows.part_W).tolist():
        scored_N, choice_N = (part_N == part) & is_scored_N, (part_N == part) & ~is_scored_N
        choice_N = choice_N if choice_N.any() else scored_N
        subsets |= {("scored", str(part)): scored_N, ("choice", str(part)): choice_N}
        choice |= {("scored", str(part)): choice_N, ("choice", str(part)): choice_N}
    queries = ContextQueries.of_windows(windows.queries)
    tables = count_group(group, paths, read_table(data), queries)
    arrays: Arrays = {}
    for (kind, part_name), table in best_tables(tables, subsets, choice).items():
        if kind == "scored":
            arrays[f"bits {part_name}"] = table.scores.bits_N
            arrays[f"table {part_name}"] = np.array([str(table.order), table.group])
        else:
            arrays[f"choice {part_name}"] = table.scores.bits_N.mean()
    return arrays


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
    counts: dict[str, Arrays] = {}
    for group, paths in group_files(data, read_table(data)).items():
        read = [path for path in paths if path.name.partition(".")[0] in config.corpus]
        for kind, files in ((CORPUS, read), ("all", paths)):
            if files and (kind == CORPUS or files != read):
                compute = partial(count_tables, windows, data, group, files)
                counts[f"{kind} {group}"] = unit(f"counts {kind} {group}", config.inputs, compute)
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


def _strongest(counts: Mapping[str, Arrays], part: int) -> dict[str, str]:
    """Return which counts hold the table of the corpus and the best table of a genome."""
    bits = {
        name: float(arrays[f"choice {part}"])
        for name, arrays in counts.items()
        if f"choice {part}" in arrays
    }
    own = {name: value for name, value in bits.items() if name.startswith(CORPUS)}
    groups = {"own": own, "best": bits}
    return {
        kind: min(of_kind, key=of_kind.__getitem__) for kind, of_kind in groups.items() if of_kind
    }


def _row(
    parts: list[int],
    windows: Windows,
    columns: Mapping[str, list[Arrays]],
    counts: Mapping[str, Arrays],
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
    tables = {part: _strongest(counts, part) for part in parts}
    for table in ("own", "best"):
        if all(table in of_part for of_part in tables.values()):
            names = [(tables[part][table], f"bits {part}") for part in parts]
            bits[table] = np.concatenate([joined(counts[name], key) for name, key in names])
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
            order, group = counts[tables[parts[0]][table]][f"table {parts[0]}"].tolist()
            row["tables"][table] = {"order": int(order), "counted_on": group}
    return row
