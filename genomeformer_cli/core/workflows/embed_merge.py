"""Join the shards of one embedding into one file, after checking that they belong together.

A shard `i/n` has every n-th row, from the i-th on. Its sidecar names the model, options, sources,
shard and checksum; those of all shards must be equal but for the shard, and the shards must be 1 to
n, each once. The output has the rows in input order, and the format of the shards.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.embedding.formats import VectorTable, write_table
from genomeformer_cli.core.embedding.vector_reader import READERS, read_vectors
from genomeformer_cli.core.embedding.vector_writer import npy_header
from genomeformer_cli.core.errors import InputError, UsageError
from genomeformer_cli.core.formats.region import RegionColumns, join_columns
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.atomic import atomic_file, check_place, write_json
from genomeformer_cli.core.store.output_lock import lock_outputs
from genomeformer_cli.core.store.run_record import note_output
from genomeformer_cli.core.store.seal import file_sha256
from genomeformer_cli.core.workflows.embed_record import identify_file, sidecar, with_checksum

_NPY = ".npy"
_ROWS_PER_CHUNK = 1 << 14
# Facts of the sidecar that differ between shards.
_OWN_FACTS = (
    "shard",
    "rows",
    "records",
    "records_without_vector",
    "job",
    "output",
    "ids",
    "sha256",
)


@dataclass(frozen=True, kw_only=True)
class MergeResult:
    """Merged vectors."""

    output: Path  # Written file.
    rows: int  # Number of rows.
    width: int  # Columns.
    shards: int  # Number of shards.


@dataclass(frozen=True, kw_only=True)
class _Shard:
    """Checked shard."""

    path: Path
    number: int
    of: int
    rows: int
    width: int
    facts: dict[str, Any]

    @property
    def shared_facts(self) -> dict[str, Any]:
        """Facts that all shards have in common."""
        return {name: value for name, value in self.facts.items() if name not in _OWN_FACTS}


def merge_shards(paths: Sequence[Path], output: Path, *, reporter: Reporter) -> MergeResult:
    """Write the rows of all shards in input order.

    Args:
        paths: Outputs of `embed --shard`, in any order, all of one format.
        output: File of the same format.
        reporter: Receives progress.

    Raises:
        UsageError: The formats differ or cannot be merged.
        InputError: A shard is damaged or missing, or the shards do not belong together.
        StoreError: The output cannot be written.
    """
    suffix = _check_formats(paths, output)
    check_place(output)
    with lock_outputs(output, reporter=reporter, inputs=paths):
        shards = sorted((_read_shard(path) for path in paths), key=lambda shard: shard.number)
        _check_together(shards)
        _check_rows(shards)
        with reporter.track("merging", sum(shard.rows for shard in shards), "rows") as tracker:
            if suffix == _NPY:
                _merge_arrays(shards, output)
            else:
                write_table(_merged_table(shards), output)
            tracker.advance(sum(shard.rows for shard in shards))
        result = MergeResult(
            output=output,
            rows=sum(shard.rows for shard in shards),
            width=shards[0].width,
            shards=len(shards),
        )
        facts = {
            **shards[0].shared_facts,
            "shard": None,
            "merged": [shard.path.name for shard in shards],
            "rows": result.rows,
            "records": sum(shard.facts["records"] for shard in shards),
            "records_without_vector": sum(
                shard.facts["records_without_vector"] for shard in shards
            ),
            "output": identify_file(output),
        }
        write_json(sidecar(output), with_checksum(facts))
        note_output(sidecar(output))
    return result


def _check_formats(paths: Sequence[Path], output: Path) -> str:
    suffixes = {path.suffix.lower() for path in (*paths, output)}
    if len(suffixes) > 1:
        names = ", ".join(f"`{suffix}`" for suffix in sorted(suffixes))
        raise UsageError(
            f"the shards and the output are of different formats: {names}",
            hint="give `-o` the suffix of the shards",
        )
    (suffix,) = suffixes
    if suffix != _NPY and suffix not in READERS:
        formats = ", ".join(f"`{name}`" for name in (_NPY, *READERS))
        raise UsageError(f"`{suffix}` files cannot be merged", hint=f"write shards as {formats}")
    return suffix


def _read_shard(path: Path) -> _Shard:
    """Read the sidecar of a shard and compare the file with it.

    Raises:
        InputError: The sidecar is missing or damaged, the file was changed, or is no shard.
    """
    where = f"`{path}`"
    try:
        facts = read_json(sidecar(path))
        number, of = facts["shard"] or (0, 0)
        rows, width = int(facts["rows"]), int(facts["width"])
        sha256 = facts["output"]["sha256"]
        records, without = int(facts["records"]), int(facts["records_without_vector"])
    except (DocumentError, KeyError, TypeError, ValueError) as failure:
        raise InputError(
            f"{where} has no valid description beside it (`{sidecar(path).name}`)",
            hint="keep the JSON file that `embed` writes beside each output",
        ) from failure
    del records, without
    if not of:
        raise InputError(f"{where} is not a shard", hint="merge outputs of `embed --shard I/N`")
    if not path.is_file() or file_sha256(path) != sha256:
        raise InputError(
            f"{where} is missing, or was changed after it was written",
            hint=f"run shard {number}/{of} again",
        )
    if facts.get("row") != "a record":
        raise InputError(
            f"{where} has one row per base, whose number per record it does not hold",
            hint="merge outputs of one row per record",
        )
    return _Shard(path=path, number=number, of=of, rows=rows, width=width, facts=facts)


def _check_together(shards: Sequence[_Shard]) -> None:
    first = shards[0]
    for shard in shards[1:]:
        for name in {**first.shared_facts, **shard.shared_facts}:
            expected, value = first.facts.get(name), shard.facts.get(name)
            if expected != value:
                raise InputError(
                    f"`{first.path}` and `{shard.path}` do not belong together: `{name}` is "
                    f"`{_short(expected)}` and `{_short(value)}`",
                    hint="run all shards with the same model, options and sources",
                )
        if shard.of != first.of:
            raise InputError(
                f"`{first.path}` is one of {first.of} shards, `{shard.path}` one of {shard.of}",
                hint="run all shards of one division",
            )
    numbers = [shard.number for shard in shards]
    repeated = next((number for number in numbers if numbers.count(number) > 1), None)
    if repeated is not None:
        raise InputError(
            f"shard {repeated}/{first.of} is given twice", hint="give every shard once"
        )
    missing = sorted(set(range(1, first.of + 1)) - set(numbers))
    if missing:
        names = ", ".join(f"{number}/{first.of}" for number in missing[:4])
        raise InputError(
            f"{len(missing)} of {first.of} shards are missing: {names}",
            hint="give all shards; run the missing ones first",
        )


def _check_rows(shards: Sequence[_Shard]) -> None:
    """Check that the shards are every n-th row of one whole."""
    total = sum(shard.rows for shard in shards)
    for shard in shards:
        expected = len(range(shard.number - 1, total, shard.of))
        if shard.rows != expected:
            raise InputError(
                f"`{shard.path}` has {shard.rows:,} rows, and a shard {shard.number}/{shard.of} of "
                f"{total:,} rows has {expected:,}",
                hint="the sources differed between the runs: run the shards again",
            )


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _merge_arrays(shards: Sequence[_Shard], output: Path) -> None:
    """Write the rows of `.npy` files, a part in memory at a time."""
    arrays = [np.load(shard.path, mmap_mode="r", allow_pickle=False) for shard in shards]
    total, number = sum(len(array) for array in arrays), len(arrays)
    width, dtype = shards[0].width, arrays[0].dtype
    with atomic_file(output) as file:
        file.write(npy_header((total, width), dtype))
        per_shard = max(1, _ROWS_PER_CHUNK // number)
        for start in range(0, max(len(array) for array in arrays), per_shard):
            parts = [array[start : start + per_shard] for array in arrays]
            chunk = np.empty((sum(len(part) for part in parts), width), dtype)
            for index, part in enumerate(parts):
                chunk[index::number] = part
            file.write(chunk.tobytes())


def _merged_table(shards: Sequence[_Shard]) -> VectorTable:
    tables = [read_vectors(shard.path) for shard in shards]
    number, total = len(tables), sum(len(table.rows) for table in tables)
    rows = np.empty((total, shards[0].width), tables[0].rows.dtype)
    ids = [""] * total
    for index, table in enumerate(tables):
        rows[index::number] = table.rows
        ids[index::number] = table.ids
    regions: RegionColumns | None = None
    parts = [table.regions for table in tables if table.regions is not None]
    if len(parts) == number:
        # Row k of shard i is row i + k n of the whole.
        order = np.argsort(
            np.concatenate(
                [index + number * np.arange(len(t.rows)) for index, t in enumerate(tables)]
            )
        )
        regions = join_columns(parts).take(order)
    provenance = {**shards[0].shared_facts, "shard": None}
    return VectorTable(
        rows, ids, [1] * total, per_base=False, regions=regions, provenance=provenance
    )
