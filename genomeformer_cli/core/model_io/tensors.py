"""Weights as files: one safetensors file, or several with an index; metadata in the header.

model.safetensors                    or, above a size limit,
model-00001-of-00002.safetensors     and `model.safetensors.index.json`, which maps tensors to files
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypedDict

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from genomeformer_cli.core.documents import DocumentError, convert, parse_json, read_json
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.escaping import excerpt
from genomeformer_cli.core.store.atomic import atomic_file, explain_write_failure, write_json
from genomeformer_cli.core.store.seal import file_sha256

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
SHARD_NAME = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
# The Hub's own tools cut weights at this size.
MAX_SHARD_BYTES = 5_000_000_000
DAMAGED = "the folder is damaged or was made by another program; train or fetch it again"
_LENGTH_BYTES, _ALIGNMENT = 8, 8
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """Entry of a tensor in the header of a safetensors file."""

    dtype: str  # Type in the words of the format, such as `F32`.
    shape: tuple[int, ...]  # Dimensions.
    data_offsets: tuple[int, int]  # Offsets of the data from the end of the header, start and end.


class _Index(TypedDict):
    weight_map: dict[str, str]


def write_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file with reproducible bytes.

    Args:
        tensors: Tensors by name.
        path: Output file.
        metadata: Metadata of the header, in addition to `format`.

    Raises:
        StoreError: The system refused the write.
    """
    try:
        # One key only: safetensors writes several in an order that differs from run to run.
        save_file(dict(tensors), path, metadata={"format": "pt"})
    except SafetensorError as failure:
        reason = str(failure).removeprefix("Error while serializing: ").removeprefix("I/O error: ")
        raise explain_write_failure(path, OSError(reason)) from failure
    if metadata:
        _write_metadata(path, {"format": "pt", **dict(sorted(metadata.items()))})


def _write_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Replace the metadata of a safetensors file; offsets count from the end of the header."""
    with path.open("rb") as old, atomic_file(path) as new:
        length = int.from_bytes(old.read(_LENGTH_BYTES), "little")
        header = parse_json(old.read(length), dict[str, Any], source=str(path))
        header["__metadata__"] = dict(metadata)
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
        text += b" " * (-len(text) % _ALIGNMENT)
        new.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)
        shutil.copyfileobj(old, new)


def read_header(path: Path) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    """Return the tensors that a safetensors file holds, by name, and its metadata.

    Raises:
        CheckpointError: The file is missing or has another format, or tensors exceed the file.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            room = path.stat().st_size - _LENGTH_BYTES - length
            if room < 0 or length > _MAX_HEADER_BYTES:
                raise ValueError("its header is longer than the file or than the format allows")
            header = parse_json(file.read(length), dict[str, Any], source=str(path))
        metadata = convert(header.pop("__metadata__", {}), dict[str, str], source=str(path))
        entries = convert(header, dict[str, TensorEntry], source=str(path))
        for name, entry in entries.items():
            start, stop = entry.data_offsets
            if not 0 <= start <= stop <= room or min(entry.shape, default=0) < 0:
                raise ValueError(f"the tensor `{name}` lies outside the file")
        _check_overlap(entries)
    except (OSError, ValueError) as failure:
        raise CheckpointError(f"`{path}` cannot be loaded: {failure}", hint=DAMAGED) from failure
    return entries, metadata


def _check_overlap(entries: Mapping[str, TensorEntry]) -> None:
    """Raise ValueError for two tensors that share bytes, which the format does not allow."""
    placed = sorted(entries.items(), key=lambda item: item[1].data_offsets)
    for (first, entry), (second, following) in pairwise(placed):
        if following.data_offsets[0] < entry.data_offsets[1]:
            raise ValueError(
                f"the tensors `{excerpt(first)}` and `{excerpt(second)}` share bytes of the file"
            )


def read_tensors(path: Path, *, finite: bool = True) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Args:
        path: Input file.
        finite: Refuse NaN and infinity.

    Raises:
        CheckpointError: The file is missing or damaged, or a number is not finite.
    """
    read_header(path)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as failure:
        raise CheckpointError(f"`{path}` cannot be loaded: {failure}", hint=DAMAGED) from failure
    if finite:
        check_finite(tensors, path)
    return tensors


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Check that tensors hold neither NaN nor infinity, which would spread to every result.

    Raises:
        CheckpointError: A number is not finite.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            number = int((~tensor.isfinite()).sum())
            raise CheckpointError(
                f"`{path}`: {number:,} of {tensor.numel():,} numbers of `{name}` are not finite",
                hint="the model is damaged or its training diverged; fetch it again, or train "
                "again with a lower learning rate",
            )


def write_weights(
    tensors: Mapping[str, Tensor],
    folder: Path,
    *,
    metadata: Mapping[str, str] | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write a model's tensors into one file, or into several above a size limit.

    Tensors are not split, so a shard of one tensor may exceed the limit.

    Raises:
        StoreError: The system refused a write.
    """
    shards = _shards(tensors, max_shard_bytes)
    if len(shards) == 1:
        write_tensors(tensors, folder / WEIGHTS_FILE, metadata)
        return
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_tensors(shard, folder / name, metadata)
        places |= dict.fromkeys(shard, name)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    write_json(folder / INDEX_FILE, index)


def _shards(tensors: Mapping[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    filled = 0
    for name in sorted(tensors):
        if shards[-1] and filled + tensors[name].nbytes > limit:
            shards.append({})
            filled = 0
        shards[-1][name] = tensors[name]
        filled += tensors[name].nbytes
    return shards


def has_weights(folder: Path) -> bool:
    """Return True if the folder contains weights."""
    return (folder / WEIGHTS_FILE).is_file() or (folder / INDEX_FILE).is_file()


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a model's tensors, in order.

    Raises:
        CheckpointError: The index is damaged, or names a file that cannot be a shard.
    """
    path = folder / INDEX_FILE
    # Of a folder with both, the Hugging Face libraries read the single file.
    if (folder / WEIGHTS_FILE).is_file() or not path.is_file():
        return [folder / WEIGHTS_FILE]
    try:
        index: _Index = read_json(path, _Index)
        names = sorted(set(index["weight_map"].values()))
        strange = [name for name in names if not SHARD_NAME.fullmatch(name)]
    except DocumentError as failure:
        raise CheckpointError(failure.message, hint=DAMAGED) from failure
    if strange or not names:
        raise CheckpointError(f"`{path}` names no shards of weights", hint=DAMAGED)
    return [folder / name for name in names]


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read a model's tensors from one file or several; `load_weights` checks their values.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        tensors |= read_tensors(path, finite=False)
    return tensors


def read_entries(folder: Path) -> dict[str, TensorEntry]:
    """Return the header entries of a model's tensors, without reading the data.

    Raises:
        CheckpointError: A file is missing or damaged, or two shards hold the same tensor.
    """
    entries: dict[str, TensorEntry] = {}
    for path in weight_files(folder):
        header, _ = read_header(path)
        again = min(entries.keys() & header.keys(), default=None)
        if again is not None:
            raise CheckpointError(
                f"`{path}` holds the tensor `{excerpt(again)}` of another shard again",
                hint=DAMAGED,
            )
        entries |= header
    return entries


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of the file of weights; for shards, of their concatenated checksums."""
    digests = [file_sha256(path) for path in weight_files(folder)]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode("ascii")).hexdigest()
