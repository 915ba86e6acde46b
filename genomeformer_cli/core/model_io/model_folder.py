"""A model in a folder: `model.safetensors`, `config.json`, and the tokenizer's three files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from genomeformer_cli._version import __version__
from genomeformer_cli.core.configuration import from_plain, to_plain
from genomeformer_cli.core.documents import DocumentError, convert, read_json
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model_io.quantize import METHOD, dequantized
from genomeformer_cli.core.model_io.skeleton import check_shapes
from genomeformer_cli.core.model_io.tensors import (
    DAMAGED,
    check_finite,
    read_entries,
    read_weights,
    write_weights,
)
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.models.registry import ARCHITECTURES, build_model, model_type
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.store.seal import check_seal
from genomeformer_cli.core.tokenizers.files import load_tokenizer, save_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer

CONFIG_FILE = "config.json"
_MAX_CONFIG_BYTES = 16 << 20
# Makes of a whole tensor what stands in the place of another.
Place = Callable[[Tensor, Tensor], Tensor]
_KNOWN_METHODS = (None, METHOD)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model ready for use.

    Attributes:
        model: In evaluation mode.
        tokenizer: Of its tokens.
        folder: Where it came from.
        layers: Whose features serve best, as `embed --layers` names them.
    """

    model: Model
    tokenizer: Tokenizer
    folder: Path
    layers: str = "last"


class _Quantization(TypedDict, total=False):
    method: str | None


class _Embedding(TypedDict, total=False):
    layers: str


class _Description(TypedDict, total=False):
    quantization: _Quantization | None
    embedding: _Embedding | None


def as_it_is(tensor: Tensor) -> Tensor:
    """A tensor that is whole here."""
    return tensor


def as_read(tensor: Tensor, like: Tensor) -> Tensor:
    """A tensor that is to be whole here too."""
    del like
    return tensor


def write_model(
    model: Model, tokenizer: Tokenizer, folder: Path, tensors: dict[str, Tensor] | None = None
) -> None:
    """Write a model and its tokenizer into a folder (which the caller seals).

    Args:
        model: What it is.
        tokenizer: Of its tokens.
        folder: Where to.
        tensors: Its `whole_tensors`, if they were put together before.
    """
    write_weights(whole_tensors(model) if tensors is None else tensors, folder)
    write_json(folder / CONFIG_FILE, describe_model(model.config))
    save_tokenizer(tokenizer, folder)


def whole_tensors(model: Model, whole: Callable[[Tensor], Tensor] = as_it_is) -> dict[str, Tensor]:
    """Everything a model keeps, by name, in the memory of the CPU.

    Args:
        model: Whose weights.
        whole: Puts together a tensor of which this process has but a part.
    """
    return {
        name: whole(tensor.detach()).cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }


def describe_model(config: ModelConfig, *, layers: str = "last") -> dict[str, Any]:
    """What `config.json` says of a model, and of the layers whose features serve best."""
    return {
        "model_type": model_type(config),
        "genomeformer_version": __version__,
        "model": to_plain(config),
        "embedding": {"layers": layers},
    }


def weights_digest(model: Model) -> str:
    """SHA-256 of what a model computes with: names, shapes and numbers as float32.

    It is the same however the weights are stored, as long as nothing is lost.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(whole_tensors(model).items()):
        numbers = tensor.float() if tensor.is_floating_point() else tensor.long()
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(numbers.numpy().tobytes())
    return digest.hexdigest()


def read_model_config(folder: Path) -> ModelConfig:
    """The configuration of the model in a folder.

    Raises:
        CheckpointError: It is missing, or describes no model of ours.
        ConfigError: It holds a setting this version does not know.
    """
    plain = _description(folder)
    config = ARCHITECTURES[plain["model_type"]].config
    return from_plain(config, plain["model"], where=str(folder / CONFIG_FILE))


def _description(folder: Path) -> dict[str, Any]:
    """What `config.json` says, once it is known to speak of a model of ours."""
    path = folder / CONFIG_FILE
    try:
        plain: dict[str, Any] = read_json(path, max_bytes=_MAX_CONFIG_BYTES)
    except DocumentError as failure:
        raise CheckpointError(failure.message, hint=DAMAGED) from failure
    if str(plain.get("model_type")) not in ARCHITECTURES or not isinstance(
        plain.get("model"), dict
    ):
        raise CheckpointError(f"`{path}` does not describe a genomeformer model", hint=DAMAGED)
    try:
        described: _Description = convert(plain, _Description, source=str(path))
    except DocumentError as failure:
        raise CheckpointError(failure.message, hint=DAMAGED) from failure
    method = (described.get("quantization") or {}).get("method")
    if method not in _KNOWN_METHODS:
        raise CheckpointError(
            f"`{path}` has weights quantized by `{method}`, which this version does not know",
            hint="install a newer genomeformer",
        )
    return plain


def read_model(folder: Path) -> LoadedModel:
    """Load a model from a sealed folder, every checksum verified first.

    Raises:
        CorruptError: A file does not match its checksum.
        CheckpointError: The weights are not those of the model that `config.json` describes.
    """
    check_seal(folder)
    config = read_model_config(folder)
    check_shapes(config, read_entries(folder), folder)
    model = build_model(config)
    load_weights(model, dequantized(read_weights(folder)), folder)
    model.eval()
    layers = (_description(folder).get("embedding") or {}).get("layers", "last")
    return LoadedModel(
        model=model, tokenizer=load_tokenizer(folder), folder=folder, layers=str(layers)
    )


@torch.no_grad()
def load_weights(
    model: Model, tensors: dict[str, Tensor], folder: Path, place: Place = as_read
) -> None:
    """Copy tensors into a model.

    Args:
        model: Whose weights they become.
        tensors: By their names.
        folder: Where they come from.
        place: Makes of a tensor what a process holds of it.

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
