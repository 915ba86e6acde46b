"""JSON beside an array of embeddings: how to make it again, and which files the job finished.

A rerun compares sizes and checksums of its files with this record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genomeformer_cli._version import __version__
from genomeformer_cli.core.annotation.sources import SequenceSources
from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.vector_writer import VectorWriter
from genomeformer_cli.core.formats.groups import GroupBy
from genomeformer_cli.core.formats.region import COLUMNS, Region, RegionColumns, region_columns
from genomeformer_cli.core.formats.sequences import query_regions
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.model_io.tensors import weights_sha256
from genomeformer_cli.core.store.atomic import write_text
from genomeformer_cli.core.store.seal import file_sha256
from genomeformer_cli.core.tokenizers.protocol import vocabulary_sha256
from genomeformer_cli.core.workflows.sources import Look

# The sidecar of a job whose files are complete, before all of them have their final names.
FINISHED = "finished.json"
_CHECKSUM = "sha256"


@dataclass(frozen=True, kw_only=True)
class FileIdentity:
    """Size in bytes and SHA-256 of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class FinishedJob:
    """Sizes and files of a finished job."""

    rows: int  # Number of rows.
    width: int  # Columns.
    records: int  # Number of records.
    output: FileIdentity  # The array.
    ids: FileIdentity | None  # The list of ids; None if none was written.


@dataclass(frozen=True, kw_only=True)
class _Record:
    """Contents of the sidecar that concern the job."""

    job: str
    rows: int
    width: int
    records: int
    output: FileIdentity
    ids: FileIdentity | None = None


def with_checksum(facts: dict[str, Any]) -> dict[str, Any]:
    """Add the SHA-256 of a record to it, so that a damaged record is not believed."""
    return {**facts, _CHECKSUM: _checksum(facts)}


def _checksum(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def identify_file(path: Path) -> dict[str, int | str]:
    """Return size and SHA-256 of a file, as JSON."""
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def is_unchanged(path: Path, recorded: FileIdentity | None) -> bool:
    """Compare a file with its record, the size first."""
    try:
        if recorded is None or not path.is_file() or path.stat().st_size != recorded.bytes:
            return False
        return file_sha256(path) == recorded.sha256
    except OSError:
        return False


def read_finished(path: Path, job: str) -> FinishedJob | None:
    """Return the record of a finished job; None if it is missing, odd, or of another job."""
    try:
        facts = read_json(path)
        record: _Record = read_json(path, _Record)
    except DocumentError:
        return None
    if facts.pop(_CHECKSUM, None) != _checksum(facts):
        return None
    if record.job != job or min(record.rows, record.width, record.records) < 0:
        return None
    return FinishedJob(
        rows=record.rows,
        width=record.width,
        records=record.records,
        output=record.output,
        ids=record.ids,
    )


_MERGE = {
    None: "a token is taken from the window in which it stands further from an edge",
    "whole": "none: the state is passed along the sequence",
}


def sidecar(output: Path) -> Path:
    """Return the path of the JSON file that describes an array, beside it."""
    return output.with_name(f"{output.name}.json")


def describe_embedding(
    sources: SequenceSources,
    dtype: str,
    embedder: Embedder,
    look: Look,
    group: GroupBy | None = None,
) -> dict[str, Any]:
    """Return everything that determines the numbers of an array, as JSON.

    Args:
        sources: Sources of the sequences.
        dtype: Output precision.
        embedder: Model and embedding options.
        look: Result of reading the sources.
        group: Group of records that is a row; None: one row per record or base.
    """
    loaded: LoadedModel = embedder.loaded
    choices = embedder.options
    identities = look.identities or [(name, 0, 0) for name in sources.files]
    window: int | str = "whole" if embedder.is_whole else embedder.window
    return {
        "genomeformer_version": __version__,
        "model": loaded.folder.name,
        "model_sha256": weights_sha256(loaded.folder),
        "vocabulary_sha256": vocabulary_sha256(loaded.tokenizer),
        "row": f"a group by {group}" if group else "a base" if choices.per_base else "a record",
        "pool": choices.pool,
        "layers": list(embedder.layers),
        "layers_joined": "mean" if choices.layers == "mean" else "side by side",
        "rc": choices.rc,
        "window": window,
        "stride": choices.stride,
        "merge": _MERGE["whole" if embedder.is_whole else None],
        "dtype": dtype,
        "sources": [list(identity) for identity in identities],
        "regions": _describe_regions(sources),
        "shard": list(sources.shard) if sources.shard else None,
    }


def _describe_regions(sources: SequenceSources) -> dict[str, Any] | None:
    """Return the regions of a genome, as JSON; None for whole records."""
    if not sources.has_regions:
        return None
    file = sources.bed or sources.vcf or sources.gff
    described: dict[str, Any] = {
        "genome": sources.genome,
        "file": str(file) if file else None,
        "flank": sources.flank if sources.vcf else None,
    }
    if sources.features:
        described["features"] = list(sources.features)
        described["upstream"], described["downstream"] = sources.upstream, sources.downstream
    if sources.tile_rules is not None:
        described["tiles"] = asdict(sources.tile_rules)
    return described


def read_regions(sources: SequenceSources, look: Look) -> RegionColumns | None:
    """Return the coordinates of every record; None for whole records."""
    return region_columns(query_regions(look.read())) if sources.has_regions else None


def save_ids(
    path: Path,
    rows: VectorWriter,
    sources: SequenceSources,
    look: Look,
    lengths: Sequence[int] | None = None,
) -> None:
    """Write the ids of the rows, one per line; `.tsv` adds lengths, rows and coordinates.

    Args:
        path: File to write.
        rows: Written rows.
        sources: Sources of the sequences.
        look: Result of reading the sources.
        lengths: Bases of each row, if rows are groups of records.
    """
    if path.suffix.lower() != ".tsv":
        write_text(path, "".join(f"{name}\n" for name, _ in rows.records()))
        return
    names = COLUMNS if sources.has_regions and lengths is None else ()
    lines, first = ["\t".join(("id", "length", "first_row", "rows", *names)) + "\n"], 0
    places: Iterable[tuple[int, Region | None]]
    places = ((query.codes.size, query.region) for query in look.read())
    if lengths is not None:
        places = ((length, None) for length in lengths)
    for (name, size), (length, region) in zip(rows.records(), places, strict=True):
        cells = region.cells if names and region is not None else ()
        lines.append("\t".join((name, f"{length}\t{first}\t{size}", *cells)) + "\n")
        first += size
    write_text(path, "".join(lines))
