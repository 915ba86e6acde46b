"""Tokenizers on disk, as the Hugging Face libraries load them.

tokenizer.json            the tokenizer
tokenizer_config.json     its special tokens, and ours: `genomeformer` names kind and settings
special_tokens_map.json   the special tokens once more, where older tools look for them
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Required, TypedDict

from tokenizers import Tokenizer as HuggingFaceTokenizer

from genomeformer_cli.core.documents import convert, parse_json, read_json
from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.tokenizers.bpe import BpeTokenizer, merges_of
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.hf_json import with_mask_rule
from genomeformer_cli.core.tokenizers.kmer import KmerTokenizer
from genomeformer_cli.core.tokenizers.protocol import SPECIAL_TOKENS, Tokenizer

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
TOKENIZER_FILES = (TOKENIZER_FILE, CONFIG_FILE, SPECIAL_TOKENS_FILE)

_BUILDERS: dict[str, Callable[..., Tokenizer]] = {"char": CharTokenizer, "kmer": KmerTokenizer}
_SETTINGS: dict[str, tuple[str, ...]] = {"char": (), "kmer": ("k", "stride")}
_MAX_CONFIG_BYTES, _MAX_TOKENIZER_BYTES = 1 << 20, 64 << 20
_PARSED = ("normalizer", "pre_tokenizer")
_HANDED_ON = ("version", "added_tokens", "normalizer", "pre_tokenizer", "model")
_COMPARED = ("normalizer", "pre_tokenizer", "model")


class _Ours(TypedDict, total=False):
    tokenizer: Required[str]
    settings: dict[str, Any]


class _Config(TypedDict):
    genomeformer: _Ours


class _AddedToken(TypedDict):
    id: int
    content: str


def tokenizer_names() -> list[str]:
    """Kinds of tokenizers: those that `build_tokenizer` makes, and the trained one."""
    return [*_BUILDERS, BpeTokenizer.kind]


def build_tokenizer(kind: str, **settings: Any) -> Tokenizer:
    """Make a tokenizer by name.

    Args:
        kind: `char` or `kmer`.
        settings: Of that kind: `k` and `stride` for `kmer`, none for `char`.

    Raises:
        ConfigError: The name or a setting is unknown, or a setting out of range; the hint lists
            the known ones.
    """
    if kind == BpeTokenizer.kind:
        raise ConfigError(
            f"the tokenizer `{kind}` is learned from sequences, not built from settings",
            hint="train it with `train_bpe`, or load the one that a corpus keeps",
        )
    if kind not in _BUILDERS:
        raise ConfigError(
            f"unknown tokenizer `{kind}`",
            hint="known: " + ", ".join(f"`{name}`" for name in tokenizer_names()),
        )
    unknown = sorted(set(settings) - set(_SETTINGS[kind]))
    if unknown:
        known = ", ".join(f"`{name}`" for name in _SETTINGS[kind])
        raise ConfigError(
            f"the tokenizer `{kind}` has no setting `{unknown[0]}`",
            hint=f"known: {known}" if known else "it has none",
        )
    return _BUILDERS[kind](**settings)


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the three files into a folder."""
    roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    special = dict(zip(roles, SPECIAL_TOKENS, strict=True))
    ours = {"tokenizer": tokenizer.kind, "settings": tokenizer.settings}
    write_json(folder / TOKENIZER_FILE, tokenizer.to_json())
    write_json(
        folder / CONFIG_FILE,
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **special,
            "clean_up_tokenization_spaces": False,
            "genomeformer": ours,
        },
    )
    write_json(folder / SPECIAL_TOKENS_FILE, special)


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of a corpus, checkpoint or bundle.

    Raises:
        CheckpointError: Its files are missing, unreadable, or say something else than the
            tokenizer they name.
    """
    hint = "the folder is incomplete; make or fetch it again"
    try:
        config: _Config = read_json(folder / CONFIG_FILE, _Config, max_bytes=_MAX_CONFIG_BYTES)
        kind = config["genomeformer"]["tokenizer"]
        settings = config["genomeformer"].get("settings", {})
        given = read_json(folder / TOKENIZER_FILE, max_bytes=_MAX_TOKENIZER_BYTES)
        tokenizer = (
            BpeTokenizer(merges_of(given), settings)
            if kind == BpeTokenizer.kind
            else build_tokenizer(kind, **settings)
        )
        expected = tokenizer.to_json()
        _check_before_parsing(given, expected)
        plain = _as_saved_now(given)
    except (ValueError, TypeError, ConfigError) as failure:
        raise CheckpointError(
            f"no readable tokenizer in `{folder}`: {failure}", hint=hint
        ) from failure
    plain["normalizer"] = with_mask_rule(plain["normalizer"], expected["normalizer"])
    if any(plain[part] != expected[part] for part in _COMPARED):
        raise CheckpointError(
            f"`{folder / TOKENIZER_FILE}` is not the `{kind}` tokenizer it claims to be", hint=hint
        )
    return tokenizer


def _check_before_parsing(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse what could hang the native library, fill the memory or abort the process.

    A vocabulary with one huge id allocates a table of that size; an expression can take any time
    to compile. So ids, tokens and expressions have to be those of the tokenizer that is expected.

    Raises:
        ValueError: The vocabulary, an added token or an expression is another one.
    """
    vocabulary = expected["model"]["vocab"]
    model = given.get("model")
    if not isinstance(model, dict) or model.get("vocab") != vocabulary:
        raise ValueError(f"{TOKENIZER_FILE}: its vocabulary is not that of the tokenizer it names")
    added = convert(given.get("added_tokens", []), list[_AddedToken], source=TOKENIZER_FILE)
    if any(vocabulary.get(token["content"]) != token["id"] for token in added):
        raise ValueError(f"{TOKENIZER_FILE}: an added token is not in the vocabulary")
    known = set(_strings({part: expected.get(part) for part in _PARSED}))
    for text in _strings({part: given.get(part) for part in _PARSED}):
        if text not in known:
            raise ValueError(f"{TOKENIZER_FILE}: `{text[:80]}` belongs to no tokenizer of ours")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _as_saved_now(given: dict[str, Any]) -> dict[str, Any]:
    """Return a tokenizer's JSON as the installed library writes it, whichever version wrote it.

    Raises:
        ValueError: The library refuses the JSON.
    """
    # What is not compared is not handed on: padding, truncation and post-processing of others.
    kept = {key: item for key, item in given.items() if key in _HANDED_ON}
    try:
        saved = HuggingFaceTokenizer.from_str(json.dumps(kept)).to_str()
    except Exception as failure:
        raise ValueError(f"{TOKENIZER_FILE}: {failure}") from failure
    plain: dict[str, Any] = parse_json(saved, source=TOKENIZER_FILE)
    return plain
