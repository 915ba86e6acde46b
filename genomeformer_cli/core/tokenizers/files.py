"""Tokenizers on disk, as the Hugging Face libraries load them.

tokenizer.json            the tokenizer
tokenizer_config.json     its special tokens, and ours: `genomeformer` names kind and settings
special_tokens_map.json   the special tokens once more, where older tools look for them
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as HuggingFaceTokenizer

from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.tokenizers.bpe import BpeTokenizer, merges_of
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.kmer import KmerTokenizer
from genomeformer_cli.core.tokenizers.protocol import SPECIAL_TOKENS, Tokenizer

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
TOKENIZER_FILES = (TOKENIZER_FILE, CONFIG_FILE, SPECIAL_TOKENS_FILE)

_BUILDERS: dict[str, Callable[..., Tokenizer]] = {"char": CharTokenizer, "kmer": KmerTokenizer}
_SETTINGS: dict[str, tuple[str, ...]] = {"char": (), "kmer": ("k", "stride")}
_COMPARED = ("normalizer", "pre_tokenizer", "model")


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
        ours = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["genomeformer"]
        kind, settings = ours["tokenizer"], dict(ours.get("settings", {}))
        plain = _as_saved_now((folder / TOKENIZER_FILE).read_text(encoding="utf-8"))
        tokenizer = (
            BpeTokenizer(merges_of(plain), settings)
            if kind == BpeTokenizer.kind
            else build_tokenizer(kind, **settings)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as failure:
        raise CheckpointError(
            f"no readable tokenizer in `{folder}`: {failure}", hint=hint
        ) from failure
    expected = tokenizer.to_json()
    if any(plain[part] != expected[part] for part in _COMPARED):
        raise CheckpointError(
            f"`{folder / TOKENIZER_FILE}` is not the `{kind}` tokenizer it claims to be", hint=hint
        )
    return tokenizer


def _as_saved_now(text: str) -> dict[str, Any]:
    """A tokenizer's JSON as the installed library would write it, whichever version wrote it.

    Raises:
        ValueError: It is none.
    """
    try:
        plain: dict[str, Any] = json.loads(HuggingFaceTokenizer.from_str(text).to_str())
    except Exception as failure:
        raise ValueError(f"{TOKENIZER_FILE}: {failure}") from failure
    return plain
