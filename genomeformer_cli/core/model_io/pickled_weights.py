"""Conversion of pickled weights, `pytorch_model.bin`, to safetensors.

Pickle is a language of programs. A process of its own, with a limit on its memory, reads the file
once with `torch.load(weights_only=True)`, which builds tensors and plain containers and refuses
every other instruction. The converted tensors are stored in the cache; the pickled file is not read
again.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from genomeformer_cli.core.documents import DocumentError, parse_json, read_json
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model_io.tensors import DAMAGED, INDEX_FILE, WEIGHTS_FILE
from genomeformer_cli.core.processes import run_module
from genomeformer_cli.core.store.atomic import write_json

if TYPE_CHECKING:
    from torch import Tensor

PICKLED_FILE = "pytorch_model.bin"
PICKLED_INDEX = "pytorch_model.bin.index.json"
PICKLED_SHARD = re.compile(r"pytorch_model-(\d{5}-of-\d{5})\.bin")
_MODULE = "genomeformer_cli.core.model_io.pickled_weights"
# Memory of the conversion: the file, its tensors, the bytes to write, and some room.
_COPIES, _ROOM = 3, 1 << 30
_FAILED = 2
_SAFETY = "weights_only"
_ARCHIVE = b"PK\x03\x04"


class _Index(TypedDict):
    weight_map: dict[str, str]


def has_pickled_weights(folder: Path) -> bool:
    """Return True if the folder contains pickled weights."""
    return (folder / PICKLED_FILE).is_file() or (folder / PICKLED_INDEX).is_file()


def pickled_files(folder: Path) -> list[Path]:
    """Return the pickled files of a model, in order.

    Raises:
        CheckpointError: The index is damaged, or names a file that cannot be a shard.
    """
    if (folder / PICKLED_FILE).is_file():
        return [folder / PICKLED_FILE]
    path = folder / PICKLED_INDEX
    try:
        index: _Index = read_json(path, _Index)
    except DocumentError as failure:
        raise CheckpointError(failure.message, hint=DAMAGED) from failure
    names = sorted(set(index["weight_map"].values()))
    if not names or not all(PICKLED_SHARD.fullmatch(name) for name in names):
        raise CheckpointError(f"invalid names of shards in `{path}`", hint=DAMAGED)
    return [folder / name for name in names]


def convert_pickled_weights(source: Path, folder: Path) -> None:
    """Write the pickled weights of a folder as safetensors into another one.

    Args:
        source: Folder with `pytorch_model.bin`, or with its shards and their index.
        folder: Existing folder for `model.safetensors`, or for its shards and their index.

    Raises:
        CheckpointError: A file is missing or damaged, holds more than tensors, or needs too much
            memory.
    """
    places: dict[str, str] = {}
    for path in pickled_files(source):
        shard = PICKLED_SHARD.fullmatch(path.name)
        name = WEIGHTS_FILE if shard is None else f"model-{shard[1]}.safetensors"
        finished = run_module(
            _MODULE,
            [path.absolute(), folder.absolute() / name],
            folder=folder,
            environment={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        if finished.returncode != 0:
            lines = finished.stderr.strip().splitlines()
            reason = lines[-1] if lines else f"its process ended with {finished.returncode}"
            raise CheckpointError(
                f"the pickled weights `{path.name}` cannot be converted: {reason}",
                hint="use a model with `model.safetensors`, or fetch the file again",
            )
        places |= dict.fromkeys(_names(finished.stdout, path), name)
    if not (folder / WEIGHTS_FILE).is_file():
        write_json(
            folder / INDEX_FILE, {"metadata": {}, "weight_map": dict(sorted(places.items()))}
        )


def _names(output: str, path: Path) -> list[str]:
    names: list[str] = parse_json(output, list[str], source=str(path))
    return names


def _limit_memory(num_bytes: int) -> None:
    """Limit the address space of this process to the present one and some more bytes."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):
        # No such limit on this system.
        return
    limit = pages * os.sysconf("SC_PAGE_SIZE") + num_bytes
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_ARCHIVE)) == _ARCHIVE


def _is_plain(tensor: Tensor) -> bool:
    import torch

    is_dense = tensor.layout == torch.strided and not tensor.is_quantized
    return is_dense and not tensor.is_meta


def _convert(path: Path, output: Path) -> list[str]:
    """Convert one file, and return the names of its tensors.

    Raises:
        ValueError: The file holds more than tensors by name.
    """
    import torch
    from safetensors.torch import save_file

    _limit_memory(_COPIES * path.stat().st_size + _ROOM)
    # Files of old torch versions are not archives and cannot be mapped.
    try:
        content = torch.load(  # noqa: TID251 - the one place; it executes nothing of the file
            path, map_location="cpu", weights_only=True, mmap=_is_archive(path)
        )
    except Exception as failure:
        # Sentences of torch that name its safety advise to read the file without it.
        if _SAFETY in str(failure) or isinstance(failure, EOFError):
            reason = "it is damaged, of another format, or holds more than tensors"
            raise ValueError(reason) from failure
        raise
    if not isinstance(content, dict):
        raise TypeError("it holds no tensors by name")
    strange = [name for name, item in content.items() if not isinstance(item, torch.Tensor)]
    if strange:
        raise ValueError(f"it holds `{strange[0]}`, which is not a tensor")
    unnamed = [name for name in content if not isinstance(name, str)]
    if unnamed:
        raise ValueError(f"the name `{unnamed[0]}` of a tensor is not a text")
    unsupported = [name for name, item in content.items() if not _is_plain(item)]
    if unsupported:
        raise ValueError(f"the tensor `{unsupported[0]}` is sparse, quantized, or has no numbers")
    # Tied tensors share memory, which the format does not allow.
    tensors = {name: tensor.detach().clone() for name, tensor in content.items()}
    save_file({name: item.contiguous() for name, item in tensors.items()}, output)
    return sorted(tensors)


def main(path: str, output: str) -> int:
    """Convert one file in this process; print the names of its tensors as JSON.

    Returns:
        Exit code; the reason of a failure is the last line on standard error.
    """
    try:
        names = _convert(Path(path), Path(output))
    except MemoryError:
        reason = "it needs more memory than a file of its size may"
    except Exception as failure:  # noqa: BLE001 - the reader of pickles raises errors of any class
        reason = str(failure).strip().partition("\n")[0] or type(failure).__name__
    else:
        sys.stdout.write(json.dumps(names))
        return 0
    sys.stderr.write(f"{reason}\n")
    return _FAILED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
