"""Copies of other authors' models in the cache: sealed folders without pickled files or code.

config.json, tokenizer files     as published
README.md                        card with the licence, as published
model.safetensors, or shards     as published, or converted from pickled weights once
SHA256SUMS                       checksums, written here
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model_io.bundle_layout import CARD_FILE
from genomeformer_cli.core.model_io.model_folder import CONFIG_FILE
from genomeformer_cli.core.model_io.pickled_weights import (
    PICKLED_FILE,
    PICKLED_INDEX,
    PICKLED_SHARD,
    convert_pickled_weights,
    has_pickled_weights,
    pickled_files,
)
from genomeformer_cli.core.model_io.tensors import (
    INDEX_FILE,
    SHARD_NAME,
    WEIGHTS_FILE,
    has_weights,
    weight_files,
)
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.store.seal import file_sha256

VOCABULARY_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
_TEXTS = (CARD_FILE, CONFIG_FILE, *VOCABULARY_FILES)
_LONGEST_NAME = 128
_OTHER_WEIGHTS = re.compile(r".*\.(?:ckpt|h5|msgpack|gguf|pt|pth|onnx|nemo)")


def published_files(names: Iterable[str]) -> list[str]:
    """Return the files to download from the names of all files of a repository.

    Pickled weights are chosen only where there are no safetensors.

    Raises:
        CheckpointError: The repository has no configuration, or no weights of a known format.
    """
    present = set(names)
    if CONFIG_FILE not in present:
        raise CheckpointError(
            f"the repository has no `{CONFIG_FILE}`",
            hint="name the repository of one model in the layout of the Hugging Face libraries",
        )
    texts = sorted(present.intersection(_TEXTS))
    shards = sorted(name for name in present if SHARD_NAME.fullmatch(name))
    pickled = sorted(name for name in present if PICKLED_SHARD.fullmatch(name))
    if WEIGHTS_FILE in present:
        return [*texts, WEIGHTS_FILE]
    if INDEX_FILE in present and shards:
        return [*texts, INDEX_FILE, *shards]
    if PICKLED_FILE in present:
        return [*texts, PICKLED_FILE]
    if PICKLED_INDEX in present and pickled:
        return [*texts, PICKLED_INDEX, *pickled]
    unsupported = sorted(name for name in present if _OTHER_WEIGHTS.fullmatch(name))
    raise CheckpointError(
        f"the repository has neither `{WEIGHTS_FILE}` nor `{PICKLED_FILE}`"
        + (f", only `{unsupported[0]}`" if unsupported else ""),
        hint="look for a conversion of the model, often named `-hf`",
    )


def copy_name(repository: str, commit: str) -> str:
    """Return the name in the cache of a repository at one commit."""
    name = f"{repository.replace('/', '--')}-{commit}"
    if len(name) <= _LONGEST_NAME and name[0].isalnum():
        return name
    return hashlib.sha256(name.encode()).hexdigest()


def copy_published(source: Path, name: str, store: Store, *, may_link: bool = False) -> Path:
    """Return the sealed copy of a published model, which is made if it is absent.

    Args:
        source: Folder with the published files.
        name: Name of the copy.
        store: Cache.
        may_link: The files are never changed in place, so that hard links can replace copies.

    Raises:
        CheckpointError: Pickled weights cannot be converted.
        StoreError: The system refused a write.
    """

    def fill(folder: Path) -> None:
        for file in _plain_files(source):
            _copy(file, folder / file.name, may_link=may_link)
        if not has_weights(source):
            convert_pickled_weights(source, folder)

    return store.ensure(Kind.UNPACKED, name, fill)


def converted_copy(source: Path, store: Store) -> Path:
    """Return the sealed copy of a local folder whose weights are pickled; made once.

    Raises:
        CheckpointError: The weights cannot be converted.
        StoreError: The system refused a write.
    """
    digest = hashlib.sha256()
    for file in [*_plain_files(source), *pickled_files(source)]:
        digest.update(f"{file.name} {file_sha256(file)}\n".encode())
    return copy_published(source, digest.hexdigest(), store)


def needs_conversion(folder: Path) -> bool:
    """Return True if a folder holds a published model whose weights are all pickled."""
    return (
        (folder / CONFIG_FILE).is_file() and not has_weights(folder) and has_pickled_weights(folder)
    )


def _plain_files(source: Path) -> list[Path]:
    files = [source / name for name in _TEXTS if (source / name).is_file()]
    if not has_weights(source):
        return files
    weights = weight_files(source)
    index = [] if weights == [source / WEIGHTS_FILE] else [source / INDEX_FILE]
    return [*files, *index, *weights]


def _copy(source: Path, target: Path, *, may_link: bool) -> None:
    if may_link:
        # File systems without links, or another file system: copied below.
        with suppress(OSError):
            os.link(source.resolve(), target)
            return
    shutil.copyfile(source, target)
