"""Interface of a model family: the published layout of its files.

A family reads the authors' `config.json`, tensors and tokenizer into an architecture of the
registry. It refuses everything that it does not understand: the numbers of a model are those of the
authors' code, or there is no model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.escaping import excerpt
from genomeformer_cli.core.models.framed import Frame, FramedConfig
from genomeformer_cli.core.tokenizers.protocol import Tokenizer

Document = Mapping[str, Any]
# Longest row with the tokens around it, from the settings of the tokenizer: some models have no
# limit in `config.json`.
LONGEST_ROW = "model_max_length"
_WHERE = "config.json"
# Whole numbers are sizes and ids, e.g. positions of HyenaDNA: 1,000,002.
_LARGEST_INT, _LARGEST_FLOAT = 1 << 24, 3e38
_MOST_PARTS = 10_000
_UNREAD = "this model needs a port that this version does not have"


def keep_config(config: FramedConfig, names: Collection[str]) -> FramedConfig:
    """Return a configuration that does not depend on the names of the tensors."""
    del names
    return config


@dataclass(frozen=True, kw_only=True)
class Family:
    """Published layout of a model family."""

    name: str  # Name of the family, e.g. `dnabert2`.
    # Function that returns True for the `config.json` of the family.
    recognise: Callable[[Document], bool]
    # Function that reads `config.json`, given the tokens around every sequence.
    read_config: Callable[[Document, Frame], FramedConfig]
    # Function that renames the authors' tensors; it also works on the `meta` device.
    convert: Callable[[Mapping[str, Tensor], Any], dict[str, Tensor]]
    # Function that reads the tokenizer in a folder, given `config.json`.
    read_tokenizer: Callable[[Path, Document], Tokenizer]
    # Function that adjusts a configuration to the names of the tensors, e.g. without a head.
    fit: Callable[[Any, Collection[str]], FramedConfig] = keep_config
    # Rows of the embedding: the size of the vocabulary, rounded up to a multiple of this.
    vocabulary_multiple: int = 1
    has_spare_rows: bool = False  # The embedding may have any number of further rows.
    layers: str = (
        "last"  # Recommended layers for embeddings, in the syntax of `rows.layers` of `embed`.
    )
    pool: str = "mean"  # Recommended pooling for embeddings.
    is_read: bool = True  # False: the layout is known and refused.


def refuse(
    name: str, recognise: Callable[[Document], bool], explain: Callable[[Document], ConfigError]
) -> Family:
    """Return the entry of a layout that is known and not read.

    Args:
        name: Name of the layout.
        recognise: Function that returns True for its `config.json`.
        explain: Function that builds the error from `config.json`.
    """

    def read_tokenizer(folder: Path, document: Document) -> Tokenizer:
        del folder
        raise explain(document)

    def read_config(document: Document, frame: Frame) -> FramedConfig:
        del frame
        raise explain(document)

    def convert(tensors: Mapping[str, Tensor], config: Any) -> dict[str, Tensor]:
        del tensors, config
        raise ConfigError(f"models of the layout `{name}` are not read", hint=_UNREAD)

    return Family(
        name=name,
        recognise=recognise,
        read_config=read_config,
        convert=convert,
        read_tokenizer=read_tokenizer,
        is_read=False,
    )


class ConfigReader:
    """Reader of a published `config.json` that refuses every key it was not asked for.

    Args:
        document: Parsed file.
        family: Name of the family, named in errors.
    """

    def __init__(self, document: Document, family: str) -> None:
        self._document = dict(document)
        self._family = family
        self._read: set[str] = set()

    def take(self, key: str, kind: type, default: Any = None) -> Any:
        """Return a value.

        Args:
            key: Key.
            kind: Required type; an integer is accepted where a float is required.
            default: Value if the key is missing or null; None: it is required.

        Raises:
            ConfigError: The key is missing, or its value has another type.
        """
        self._read.add(key)
        value = self._document.get(key)
        if value is None:
            if default is None:
                raise ConfigError(f"`{_WHERE}` lacks `{key}`", hint=self._hint())
            return default
        number = _as_number(value, kind)
        if number is None:
            raise ConfigError(f"`{_WHERE}`: invalid `{key}`: `{excerpt(value)}`", hint=self._hint())
        return number

    def count(self, key: str, default: int | None = None) -> int:
        """Return the number of parts of a model, such as its blocks, heads or experts.

        Readers and models list them: a few bytes of `config.json` must not ask for billions.

        Raises:
            ConfigError: The key is missing, or its value is not a possible number of parts.
        """
        value: int = self.take(key, int, default)
        if not 0 <= value <= _MOST_PARTS:
            raise ConfigError(f"`{_WHERE}`: invalid `{key}`: `{value}`", hint=self._hint())
        return value

    def require(self, key: str, *allowed: Any, missing: bool = True) -> Any:
        """Return a value that must be one of the values that are implemented.

        Args:
            key: Key.
            allowed: Implemented values; the first one is meant where the key is missing.
            missing: Accept a missing key.

        Raises:
            ConfigError: Another value.
        """
        self._read.add(key)
        if key not in self._document and missing:
            return allowed[0]
        value = self._document.get(key)
        if not any(type(value) is type(item) and value == item for item in allowed):
            raise ConfigError(
                f"`{_WHERE}`: `{key}` is `{excerpt(value)}`, which is not implemented for "
                f"`{self._family}`",
                hint="implemented: " + ", ".join(f"`{item}`" for item in allowed),
            )
        return value

    def flag(self, key: str, *, is_on: bool) -> None:
        """Require a switch to be as implemented, null or missing.

        Args:
            key: Key.
            is_on: Implemented value.

        Raises:
            ConfigError: Another value.
        """
        self.require(key, is_on, None)

    def ignore(self, keys: Collection[str]) -> None:
        """Accept keys that cannot change the numbers of the model."""
        self._read |= set(keys)

    def finish(self) -> None:
        """Refuse keys that were neither read nor ignored.

        Raises:
            ConfigError: A key is unknown.
        """
        unknown = sorted(self._document.keys() - self._read - GENERAL_KEYS - GENERATION_KEYS)
        if unknown:
            raise ConfigError(
                f"`{_WHERE}`: unknown key `{excerpt(unknown[0])}` for `{self._family}`",
                hint=self._hint(),
            )

    def _hint(self) -> str:
        return f"read as a model of the family `{self._family}`; {_UNREAD}"


def _as_number(value: Any, kind: type) -> Any:
    """Return a value of a type, an integer as a float where needed; None if it has another type.

    Numbers beyond float32, and sizes beyond those of any model, are invalid.
    """
    if kind in (int, float) and type(value) in (int, float):
        if not abs(value) <= (_LARGEST_FLOAT if kind is float else _LARGEST_INT):
            return None
        value = float(value) if kind is float else value
    is_flag = isinstance(value, bool)
    return value if isinstance(value, kind) and is_flag == (kind is bool) else None


# Keys of every published configuration that cannot change features or logits in evaluation.
GENERAL_KEYS = frozenset(
    {
        "_name_or_path",
        "_commit_hash",
        "_attn_implementation_autoset",
        "architectures",
        "auto_map",
        "bos_token_id",
        "chunk_size_feed_forward",
        "classifier_dropout",
        "cls_token_id",
        "decoder_start_token_id",
        "dtype",
        "eos_token_id",
        "gradient_checkpointing",
        "id2label",
        "initializer_range",
        "keys_to_ignore_at_inference",
        "label2id",
        "mask_token_id",
        LONGEST_ROW,
        "model_type",
        "name_or_path",
        "num_labels",
        "output_attentions",
        "output_hidden_states",
        "output_past",
        "pad_token_id",
        "problem_type",
        "return_dict",
        "sep_token_id",
        "tokenizer_class",
        "torch_dtype",
        "torchscript",
        "transformers_version",
        "unk_token_id",
        "use_cache",
    }
)
# Defaults of text generation, which old versions of transformers wrote into every configuration.
GENERATION_KEYS = frozenset(
    {
        "bad_words_ids",
        "begin_suppress_tokens",
        "diversity_penalty",
        "do_sample",
        "early_stopping",
        "encoder_no_repeat_ngram_size",
        "exponential_decay_length_penalty",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "length_penalty",
        "max_length",
        "min_length",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_return_sequences",
        "output_scores",
        "prefix",
        "remove_invalid_values",
        "repetition_penalty",
        "return_dict_in_generate",
        "suppress_tokens",
        "task_specific_params",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
    }
)


class TensorReader:
    """Reader of published tensors that refuses every tensor it was not asked for.

    Args:
        tensors: Tensors by their published name.
        family: Name of the family, named in errors.
    """

    def __init__(self, tensors: Mapping[str, Tensor], family: str) -> None:
        self._tensors = dict(tensors)
        self._family = family

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def take(self, name: str) -> Tensor:
        """Remove and return a tensor.

        Raises:
            CheckpointError: It is missing.
        """
        try:
            return self._tensors.pop(name)
        except KeyError:
            raise CheckpointError(
                f"the weights lack the tensor `{name}` of a model of the family `{self._family}`",
                hint="fetch the model again; weights of another variant need another port",
            ) from None

    def rename(self, names: Mapping[str, str]) -> dict[str, Tensor]:
        """Remove and return tensors under new names.

        Args:
            names: New name by published name.

        Raises:
            CheckpointError: A tensor is missing.
        """
        return {new: self.take(old) for old, new in names.items()}

    def drop_prefix(self, prefix: str) -> None:
        """Remove a prefix from the names of all tensors that have it."""
        self._tensors = {name.removeprefix(prefix): item for name, item in self._tensors.items()}

    def ignore(self, *patterns: str) -> None:
        """Drop tensors whose numbers are not used, by regular expression of the whole name."""
        self._tensors = {
            name: item
            for name, item in self._tensors.items()
            if not any(re.fullmatch(pattern, name) for pattern in patterns)
        }

    def finish(self) -> None:
        """Refuse tensors that were neither taken nor ignored.

        Raises:
            CheckpointError: A tensor is unknown.
        """
        if self._tensors:
            raise CheckpointError(
                f"the weights hold a tensor `{excerpt(min(self._tensors))}`, unknown in the family "
                f"`{self._family}`",
                hint=_UNREAD,
            )


def check_auto_map(document: Document, ported: Collection[str], family: str) -> None:
    """Refuse remote code that was not ported; none of it is ever executed.

    Args:
        document: Parsed `config.json`.
        ported: Class references of the ported code, e.g. `modeling_esm.EsmForMaskedLM`.
        family: Name of the family, named in the error.

    Raises:
        ConfigError: `auto_map` names other code.
    """
    auto_map = document.get("auto_map") or {}
    references = auto_map.values() if isinstance(auto_map, Mapping) else [auto_map]
    for reference in references:
        # `ORG/NAME--module.Class` names the code of another repository.
        name = str(reference).rpartition("--")[2]
        if name not in ported:
            raise ConfigError(
                f"`{_WHERE}`: `auto_map` names the code `{excerpt(reference)}`, which is not "
                "ported",
                hint=f"ported for `{family}`: " + (", ".join(sorted(ported)) or "none"),
            )
