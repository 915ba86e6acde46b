"""A model in a folder: `model.safetensors`, `config.json`, and three files of the tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from genomeformer_cli._version import __version__
from genomeformer_cli.core.configuration import from_plain, to_plain
from genomeformer_cli.core.documents import DocumentError, convert, read_json
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model_io.embedding_rule import LAST_LAYER, EmbeddingRule, Recommended
from genomeformer_cli.core.model_io.int8_record import Int8Record
from genomeformer_cli.core.model_io.quantize import METHOD, dequantize_tensors
from genomeformer_cli.core.model_io.skeleton import build_unloaded, check_shapes, stored_shapes
from genomeformer_cli.core.model_io.tensors import (
    DAMAGED,
    check_finite,
    read_entries,
    read_weights,
    write_weights,
)
from genomeformer_cli.core.models.protocol import ArchitectureConfig, Model
from genomeformer_cli.core.models.registry import (
    ARCHITECTURES,
    find_family,
    model_type,
)
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.run_record import note_model
from genomeformer_cli.core.store.seal import SEAL, check_seal
from genomeformer_cli.core.tokenizers.files import load_tokenizer, save_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer

CONFIG_FILE = "config.json"
_MAX_CONFIG_BYTES = 16 << 20
# Returns the part of a whole tensor that a process keeps in the place of a parameter.
Placement = Callable[[Tensor, Tensor], Tensor]
_KNOWN_METHODS = (None, METHOD)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """Model ready for use."""

    model: Model  # Model in evaluation mode.
    tokenizer: Tokenizer  # Tokenizer of the model.
    folder: Path  # Source folder.
    # Recommended layers of one base, in the syntax of `rows.layers` of `embed`.
    layers: str = "last"
    # Recommended vectors of sequences: `auto`, and by kind of label.
    rules: Mapping[str, EmbeddingRule] = field(default_factory=dict)
    int8: Int8Record | None = None  # Error of the model in int8; None: not measured.

    @property
    def is_equivariant(self) -> bool:
        """True if the reverse complement of a sequence has its features, with swapped strands.

        The cut into longer tokens differs between the strands.
        """
        return self.model.is_equivariant and self.tokenizer.one_token_per_base


class _Quantization(TypedDict, total=False):
    method: str | None


class _Embedding(TypedDict, total=False):
    layers: str
    rules: dict[str, EmbeddingRule]


class _Inference(TypedDict, total=False):
    int8: Int8Record | None


class _Description(TypedDict, total=False):
    inference: _Inference | None
    quantization: _Quantization | None
    embedding: _Embedding | None


def unsharded(tensor: Tensor) -> Tensor:
    """Return a tensor that is not sharded."""
    return tensor


def whole_tensor(tensor: Tensor, like: Tensor) -> Tensor:
    """Return the whole tensor, for a parameter that is not sharded."""
    del like
    return tensor


def write_model(
    model: Model, tokenizer: Tokenizer, folder: Path, tensors: dict[str, Tensor] | None = None
) -> None:
    """Write a model and its tokenizer into a folder, which the caller seals.

    Args:
        model: Model to write.
        tokenizer: Tokenizer of the model.
        folder: Output folder.
        tensors: Result of `whole_tensors`, if already gathered.
    """
    write_weights(whole_tensors(model) if tensors is None else tensors, folder)
    write_json(folder / CONFIG_FILE, describe_model(model.config))
    save_tokenizer(tokenizer, folder)


def whole_tensors(model: Model, whole: Callable[[Tensor], Tensor] = unsharded) -> dict[str, Tensor]:
    """Return the state of a model, by name, in CPU memory.

    Args:
        model: Model.
        whole: Function that gathers a sharded tensor.
    """
    return {
        name: whole(tensor.detach()).cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }


def describe_model(
    config: ArchitectureConfig, recommended: Recommended = LAST_LAYER
) -> dict[str, Any]:
    """Return the contents of `config.json`.

    Args:
        config: Configuration of the model.
        recommended: Recommended vectors.
    """
    rules = {name: asdict(rule) for name, rule in recommended.rules.items()}
    return {
        "model_type": model_type(config),
        "genomeformer_version": __version__,
        "model": to_plain(config),
        "embedding": {"layers": recommended.layers} | ({"rules": rules} if rules else {}),
    }


def weights_digest(model: Model) -> str:
    """Return the SHA-256 of names, shapes and float32 values of a model.

    The digest does not depend on how the weights are stored, unless precision is lost.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(whole_tensors(model).items()):
        numbers = tensor.float() if tensor.is_floating_point() else tensor.long()
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(numbers.numpy().tobytes())
    return digest.hexdigest()


def read_model_config(folder: Path) -> ArchitectureConfig:
    """Read the configuration of the model in a folder.

    Raises:
        CheckpointError: The file is missing or does not describe a genomeformer model.
        ConfigError: The file has a setting that is unknown to this version.
    """
    document = _read_document(folder)
    if is_published(document):
        from genomeformer_cli.core.model_io.published import read_published

        return read_published(folder, document).config
    return _own_config(folder, _check_description(folder, document))


def _own_config(folder: Path, plain: dict[str, Any]) -> ArchitectureConfig:
    config: ArchitectureConfig = from_plain(
        ARCHITECTURES[plain["model_type"]].config, plain["model"], where=str(folder / CONFIG_FILE)
    )
    return config


def _read_document(folder: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = read_json(folder / CONFIG_FILE, max_bytes=_MAX_CONFIG_BYTES)
    except DocumentError as failure:
        raise CheckpointError(failure.message, hint=DAMAGED) from failure
    return document


def is_published(document: dict[str, Any]) -> bool:
    """Return True if `config.json` has the layout of other authors, False if it has ours."""
    is_own_layout = (
        "genomeformer_version" in document or document.get("model_type") in ARCHITECTURES
    )
    return not is_own_layout


def check_family(folder: Path) -> None:
    """Check that the model of a published `config.json` belongs to a known family.

    Raises:
        CheckpointError: The file is damaged, or no family recognises it.
    """
    document = _read_document(folder)
    if is_published(document):
        find_family(document)


def _check_description(folder: Path, plain: dict[str, Any]) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    if not isinstance(plain.get("model_type"), str) or not isinstance(plain.get("model"), dict):
        raise CheckpointError(f"`{path}` does not describe a genomeformer model", hint=DAMAGED)
    if plain["model_type"] not in ARCHITECTURES:
        raise CheckpointError(
            f"`{path}` describes a model of the architecture `{plain['model_type'][:80]}`, which "
            "is not installed",
            hint="install the package that provides it, or a newer genomeformer",
        )
    try:
        described: _Description = convert(plain, _Description, source=str(path))
    except DocumentError as failure:
        raise CheckpointError(failure.message, hint=DAMAGED) from failure
    method = (described.get("quantization") or {}).get("method")
    if method not in _KNOWN_METHODS:
        raise CheckpointError(
            f"`{path}` has weights quantized by `{method}`, which this version does not support",
            hint="install a newer genomeformer",
        )
    return plain


def read_model(folder: Path) -> LoadedModel:
    """Load a model from a folder of ours, or from one in the layout of its authors.

    A folder of ours is sealed; every checksum is verified first. Of the others, those from the Hub
    are.

    Raises:
        CorruptError: A file does not match its checksum.
        CheckpointError: The weights do not fit `config.json`, or the architecture is unknown.
        ConfigError: A setting of `config.json` is not implemented.
    """
    note_model(folder)
    may_be_published = (folder / CONFIG_FILE).exists() and not (folder / SEAL).exists()
    if not may_be_published:
        check_seal(folder)
    document = _read_document(folder)
    if is_published(document):
        return _read_published(folder, document)
    if may_be_published:
        check_seal(folder)
    plain = _check_description(folder, document)
    config = _own_config(folder, plain)
    check_shapes(config, stored_shapes(read_entries(folder)), folder)
    model = build_unloaded(config)
    load_weights(model, dequantize_tensors(read_weights(folder)), folder)
    model.eval()
    embedding: _Embedding = convert(
        plain.get("embedding") or {}, _Embedding, source=str(folder / CONFIG_FILE)
    )
    recorded = (plain.get("inference") or {}).get("int8")
    return LoadedModel(
        model=model,
        tokenizer=load_tokenizer(folder),
        folder=folder,
        layers=embedding.get("layers", "last"),
        rules=embedding.get("rules", {}),
        int8=None if recorded is None else convert(recorded, Int8Record, source=str(folder)),
    )


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of the model in a folder, of ours or of other authors.

    Raises:
        CheckpointError: A file is missing or damaged, or the architecture is unknown.
        ConfigError: A setting is not implemented.
    """
    document = _read_document(folder)
    if is_published(document):
        from genomeformer_cli.core.model_io.published import read_published

        return read_published(folder, document).tokenizer
    return load_tokenizer(folder)


def _read_published(folder: Path, document: dict[str, Any]) -> LoadedModel:
    from genomeformer_cli.core.model_io.published import read_published

    published = read_published(folder, document)
    check_shapes(published.config, published.shapes(read_entries(folder)), folder)
    model = build_unloaded(published.config)
    load_weights(model, published.convert(read_weights(folder)), folder)
    model.eval()
    return LoadedModel(
        model=model,
        tokenizer=published.tokenizer,
        folder=folder,
        layers=published.family.layers,
    )


@torch.no_grad()
def load_weights(
    model: Model, tensors: dict[str, Tensor], folder: Path, place: Placement = whole_tensor
) -> None:
    """Copy tensors into a model.

    Args:
        model: Model to change.
        tensors: Tensors by name.
        folder: Source folder, for messages.
        place: Function that returns the part of a tensor that this process holds.

    Raises:
        CheckpointError: Names or shapes do not fit.
    """
    check_finite(tensors, folder)
    try:
        own = model.state_dict()
        model.load_state_dict(
            {name: place(tensor, own.get(name, tensor)) for name, tensor in tensors.items()}
        )
    except RuntimeError as failure:
        raise CheckpointError(
            f"the weights in `{folder}` do not fit their `{CONFIG_FILE}`", hint=DAMAGED
        ) from failure
