"""Weights as files: one safetensors file, or several with an index, and what is said in the header.

model.safetensors                    or, above a limit,
model-00001-of-00002.safetensors     and `model.safetensors.index.json`, which says where each lies
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.store.atomic import atomic_file, explain_write_failure, write_json
from genomeformer_cli.core.store.seal import file_sha256

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
SHARD_NAME = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
# The Hub's own tools cut weights at this size.
MAX_SHARD_BYTES = 5_000_000_000
DAMAGED = "the folder is damaged or was made by another program; train or fetch it again"
_LENGTH_BYTES, _ALIGNMENT = 8, 8


def write_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, to the same bytes each time.

    Args:
        tensors: By name.
        path: Where to.
        metadata: What its header says beside `format`.

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
        _say_in_header(path, {"format": "pt", **dict(sorted(metadata.items()))})


def _say_in_header(path: Path, metadata: Mapping[str, str]) -> None:
    """Give a safetensors file other metadata; offsets count from the header's end, so they hold."""
    with path.open("rb") as old, atomic_file(path) as new:
        length = int.from_bytes(old.read(_LENGTH_BYTES), "little")
        header = {**json.loads(old.read(length)), "__metadata__": dict(metadata)}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
        text += b" " * (-len(text) % _ALIGNMENT)
        new.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)
        shutil.copyfileobj(old, new)


def read_metadata(path: Path) -> dict[str, str]:
    """What the header of a safetensors file says of it.

    Raises:
        CheckpointError: It is no such file.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            header: dict[str, Any] = json.loads(file.read(min(length, path.stat().st_size)))
        return dict(header.get("__metadata__", {}))
    except (OSError, ValueError) as failure:
        raise CheckpointError(f"`{path}` cannot be loaded: {failure}", hint=DAMAGED) from failure


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as failure:
        raise CheckpointError(f"`{path}` cannot be loaded: {failure}", hint=DAMAGED) from failure


def write_weights(
    tensors: Mapping[str, Tensor],
    folder: Path,
    *,
    metadata: Mapping[str, str] | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write a model's tensors into one file, or into several if they are larger than the limit.

    A tensor is never cut, so a shard of one tensor may be larger.

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
    """Whether a folder holds a model's tensors."""
    return (folder / WEIGHTS_FILE).is_file() or (folder / INDEX_FILE).is_file()


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's tensors, in order.

    Raises:
        CheckpointError: The index is damaged, or names a file that cannot be a shard.
    """
    if not (folder / INDEX_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    path = folder / INDEX_FILE
    try:
        names = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
        strange = [name for name in names if not SHARD_NAME.fullmatch(name)]
    except (ValueError, KeyError, TypeError, AttributeError) as failure:
        raise CheckpointError(f"`{path}` cannot be read: {failure}", hint=DAMAGED) from failure
    if strange or not names:
        raise CheckpointError(f"`{path}` names no shards of weights", hint=DAMAGED)
    return [folder / name for name in names]


def read_weights(folder: Path) -> dict[str, Tensor]:
    """A model's tensors, out of one file or several.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        tensors |= read_tensors(path)
    return tensors


def weights_sha256(folder: Path) -> str:
    """SHA-256 of the file of the weights; of several, of their checksums one after the other."""
    digests = [file_sha256(path) for path in weight_files(folder)]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode("ascii")).hexdigest()
