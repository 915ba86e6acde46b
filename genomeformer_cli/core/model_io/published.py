"""Models of other authors, in the layout of their own files.

config.json          configuration in the authors' form, see `core.models.families`
model.safetensors    weights under the authors' names, or in shards with an index
vocab.txt, tokenizer.json, tokenizer_config.json    tokenizer

A family either understands every key and every tensor, or the model is refused. None of the files
is code, and none is executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.model_io.tensors import TensorEntry, read_entries
from genomeformer_cli.core.models.families.protocol import LONGEST_ROW, Family
from genomeformer_cli.core.models.framed import Frame, FramedConfig
from genomeformer_cli.core.models.registry import find_family
from genomeformer_cli.core.tokenizers.files import CONFIG_FILE as TOKENIZER_CONFIG_FILE
from genomeformer_cli.core.tokenizers.protocol import Tokenizer

_NO_LIMIT = 1 << 40


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """Description of a model of other authors."""

    family: Family
    config: FramedConfig
    tokenizer: Tokenizer

    def convert(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors under the names of our architecture.

        Raises:
            CheckpointError: A tensor is missing or unknown.
        """
        return self.family.convert(tensors, self.config)

    def shapes(self, entries: Mapping[str, TensorEntry]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the converted tensors from the headers of the files.

        Raises:
            CheckpointError: A tensor is missing or unknown.
        """
        skeletons = {
            name: torch.empty(entry.shape, device="meta") for name, entry in entries.items()
        }
        return {name: tuple(tensor.shape) for name, tensor in self.convert(skeletons).items()}


def read_published(folder: Path, document: Mapping[str, Any]) -> PublishedModel:
    """Read configuration and tokenizer of a model of other authors.

    Args:
        folder: Folder of the model.
        document: Parsed `config.json`.

    Raises:
        CheckpointError: The family is unknown, or the vocabulary does not match the embedding.
        ConfigError: A setting is not implemented.
    """
    family = find_family(document)
    document = {**_token_limit(folder), **document}
    tokenizer = family.read_tokenizer(folder, document)
    frame = Frame(pad_id=tokenizer.pad_id, prefix=tokenizer.prefix_ids, suffix=tokenizer.suffix_ids)
    config = family.fit(family.read_config(document, frame), read_entries(folder).keys())
    num_tokens, multiple = len(tokenizer.tokens), family.vocabulary_multiple
    spare = config.vocabulary_size - -(-num_tokens // multiple) * multiple
    if spare < 0 or (spare and not family.has_spare_rows):
        raise CheckpointError(
            f"the vocabulary in `{folder}` has {num_tokens:,} tokens, and the embedding "
            f"{config.vocabulary_size:,} rows",
            hint="the tokenizer belongs to another model; fetch the files of one commit",
        )
    return PublishedModel(family=family, config=config, tokenizer=tokenizer)


def _token_limit(folder: Path) -> dict[str, int]:
    """Return the longest row that the settings of the tokenizer name, if they name one."""
    try:
        settings = read_json(folder / TOKENIZER_CONFIG_FILE)
    except DocumentError:
        # The reader of the tokenizer reports a file that it needs.
        return {}
    limit = settings.get(LONGEST_ROW)
    # The Hugging Face library writes 1e30 for no limit.
    return {LONGEST_ROW: limit} if type(limit) is int and 0 < limit < _NO_LIMIT else {}
