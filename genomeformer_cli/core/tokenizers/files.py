"""Tokenizer files in the layout of the Hugging Face libraries.

tokenizer.json            tokenizer
tokenizer_config.json     special tokens; key `genomeformer`: kind and settings
special_tokens_map.json   special tokens, as read by older tools

Tokenizers of other authors are saved in the same files, which give their ids in any tool.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Required, TypedDict

from tokenizers import Tokenizer as HuggingFaceTokenizer

from genomeformer_cli.core.documents import convert, parse_json, read_json
from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.proposals import propose
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.tokenizers.bpe import BpeTokenizer, merges_of
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.hf_json import with_mask_rule
from genomeformer_cli.core.tokenizers.kmer import KmerTokenizer
from genomeformer_cli.core.tokenizers.protocol import SPECIAL_TOKENS, Tokenizer
from genomeformer_cli.core.tokenizers.published.base import PublishedTokenizer
from genomeformer_cli.core.tokenizers.published.files import role_tokens, vocabulary_of
from genomeformer_cli.core.tokenizers.published.greedy import GreedyKmerTokenizer
from genomeformer_cli.core.tokenizers.published.trained import TrainedTokenizer
from genomeformer_cli.core.tokenizers.published.vocabulary import SpecialTokens
from genomeformer_cli.core.tokenizers.published.windows import WindowTokenizer

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
TOKENIZER_FILES = (TOKENIZER_FILE, CONFIG_FILE, SPECIAL_TOKENS_FILE)

_BUILDERS: dict[str, Callable[..., Tokenizer]] = {"char": CharTokenizer, "kmer": KmerTokenizer}
_SETTINGS: dict[str, tuple[str, ...]] = {"char": (), "kmer": ("k", "stride")}
PUBLISHED_KINDS = (GreedyKmerTokenizer.kind, TrainedTokenizer.kind, WindowTokenizer.kind)
_MAX_CONFIG_BYTES, _MAX_TOKENIZER_BYTES = 1 << 20, 64 << 20
_PARSED = ("normalizer", "pre_tokenizer")
_RELEVANT = ("version", "added_tokens", "normalizer", "pre_tokenizer", "model")
_COMPARED = ("normalizer", "pre_tokenizer", "model")


class _Description(TypedDict, total=False):
    tokenizer: Required[str]
    settings: dict[str, Any]
    special: SpecialTokens


class _Config(TypedDict):
    genomeformer: _Description


class _AddedToken(TypedDict):
    id: int
    content: str


def tokenizer_names() -> list[str]:
    """Return the kinds of tokenizers: those of `build_tokenizer`, and the trained one."""
    return [*_BUILDERS, BpeTokenizer.kind]


def build_tokenizer(kind: str, **settings: Any) -> Tokenizer:
    """Build a tokenizer by name.

    Args:
        kind: `char` or `kmer`.
        settings: `k` and `stride` for `kmer`, none for `char`.

    Raises:
        ConfigError: The name or a setting is unknown, or a setting is out of range.
    """
    if kind == BpeTokenizer.kind:
        raise ConfigError(
            f"the tokenizer `{kind}` is trained on sequences, not built from settings",
            hint="train it with `train_bpe`, or load the one that a corpus keeps",
        )
    if kind not in _BUILDERS:
        raise ConfigError(
            f"unknown tokenizer `{kind}`",
            hint=propose(
                kind,
                tokenizer_names(),
                otherwise="known: " + ", ".join(f"`{name}`" for name in tokenizer_names()),
            ),
        )
    unknown = sorted(set(settings) - set(_SETTINGS[kind]))
    if unknown:
        available = ", ".join(f"`{name}`" for name in _SETTINGS[kind])
        raise ConfigError(
            f"the tokenizer `{kind}` has no setting `{unknown[0]}`",
            hint=f"known: {available}" if available else "it has none",
        )
    return _BUILDERS[kind](**settings)


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the three files into a folder."""
    description: dict[str, Any] = {"tokenizer": tokenizer.kind, "settings": tokenizer.settings}
    if isinstance(tokenizer, PublishedTokenizer):
        special = role_tokens(tokenizer.vocabulary.special)
        description["special"] = asdict(tokenizer.vocabulary.special)
    else:
        roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
        special = dict(zip(roles, SPECIAL_TOKENS, strict=True))
    write_json(folder / TOKENIZER_FILE, tokenizer.to_json())
    write_json(
        folder / CONFIG_FILE,
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **special,
            "clean_up_tokenization_spaces": False,
            "genomeformer": description,
        },
    )
    write_json(folder / SPECIAL_TOKENS_FILE, special)


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of a corpus, checkpoint or bundle.

    Raises:
        CheckpointError: A file is missing, unreadable, or differs from the tokenizer it declares.
    """
    hint = "the folder is incomplete; make or fetch it again"
    try:
        config: _Config = read_json(folder / CONFIG_FILE, _Config, max_bytes=_MAX_CONFIG_BYTES)
        kind = config["genomeformer"]["tokenizer"]
        saved = read_json(folder / TOKENIZER_FILE, max_bytes=_MAX_TOKENIZER_BYTES)
        tokenizer = _rebuild(config["genomeformer"], saved)
        if isinstance(tokenizer, TrainedTokenizer):
            return tokenizer
        expected = tokenizer.to_json()
        _check_before_parsing(saved, expected)
        plain = _normalize(saved)
    except (ValueError, TypeError, ConfigError) as failure:
        raise CheckpointError(
            f"no readable tokenizer in `{folder}`: {failure}", hint=hint
        ) from failure
    plain["normalizer"] = with_mask_rule(plain["normalizer"], expected["normalizer"])
    if any(plain[part] != expected[part] for part in _COMPARED):
        raise CheckpointError(
            f"`{folder / TOKENIZER_FILE}` differs from the declared `{kind}` tokenizer", hint=hint
        )
    return tokenizer


def _rebuild(description: _Description, saved: dict[str, Any]) -> Tokenizer:
    """Build the tokenizer that a folder describes.

    Raises:
        ConfigError: A setting is out of range.
        ValueError: The vocabulary is not one of that tokenizer.
    """
    kind, settings = description["tokenizer"], description.get("settings", {})
    if kind == BpeTokenizer.kind:
        return BpeTokenizer(merges_of(saved), settings)
    if kind not in PUBLISHED_KINDS:
        return build_tokenizer(kind, **settings)
    if "special" not in description:
        raise ValueError(f"{CONFIG_FILE} names no special tokens")
    special = description["special"]
    if kind == TrainedTokenizer.kind:
        return TrainedTokenizer(saved, special)
    vocabulary = vocabulary_of(saved, special)
    if kind == GreedyKmerTokenizer.kind:
        return GreedyKmerTokenizer(vocabulary)
    return WindowTokenizer(vocabulary, **settings)


def _check_before_parsing(saved: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse JSON that could hang the native library, exhaust memory or abort the process.

    A vocabulary with one huge id allocates a table of that size; a regular expression can take
    arbitrarily long to compile. Ids, tokens and expressions therefore have to be the expected ones.

    Raises:
        ValueError: The vocabulary, an added token or an expression differs.
    """
    vocabulary = expected["model"]["vocab"]
    model = saved.get("model")
    if not isinstance(model, dict) or model.get("vocab") != vocabulary:
        raise ValueError(
            f"{TOKENIZER_FILE}: its vocabulary differs from that of the declared tokenizer"
        )
    added = convert(saved.get("added_tokens", []), list[_AddedToken], source=TOKENIZER_FILE)
    if any(vocabulary.get(token["content"]) != token["id"] for token in added):
        raise ValueError(f"{TOKENIZER_FILE}: an added token is not in the vocabulary")
    expected_strings = set(_strings({part: expected.get(part) for part in _PARSED}))
    for text in _strings({part: saved.get(part) for part in _PARSED}):
        if text not in expected_strings:
            raise ValueError(f"{TOKENIZER_FILE}: `{text[:80]}` is not part of the tokenizer")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _normalize(original: dict[str, Any]) -> dict[str, Any]:
    """Rewrite a tokenizer's JSON in the form of the installed library version.

    Raises:
        ValueError: The library rejects the JSON.
    """
    # Padding, truncation and post-processing do not affect the ids and are dropped.
    relevant = {key: item for key, item in original.items() if key in _RELEVANT}
    try:
        saved = HuggingFaceTokenizer.from_str(json.dumps(relevant)).to_str()
    except Exception as failure:
        raise ValueError(f"{TOKENIZER_FILE}: {failure}") from failure
    plain: dict[str, Any] = parse_json(saved, source=TOKENIZER_FILE)
    return plain
