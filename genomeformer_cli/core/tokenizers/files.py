"""Tokenizers on disk, as the Hugging Face libraries load them: `tokenizer.json` and its config."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.tokenizers.char import CharTokenizer
from genomeformer_cli.core.tokenizers.protocol import SPECIAL_TOKENS, Tokenizer

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"

_TABLE: dict[str, Callable[..., Tokenizer]] = {"char": CharTokenizer}


def tokenizer_names() -> list[str]:
    """Names that `build_tokenizer` knows."""
    return list(_TABLE)


def build_tokenizer(kind: str, **settings: Any) -> Tokenizer:
    """Make a tokenizer by name.

    Raises:
        ConfigError: The name is unknown; the hint lists the known ones.
    """
    if kind not in _TABLE:
        raise ConfigError(
            f"unknown tokenizer `{kind}`",
            hint="known: " + ", ".join(f"`{name}`" for name in _TABLE),
        )
    try:
        return _TABLE[kind](**settings)
    except TypeError as failure:
        raise ConfigError(
            f"the tokenizer `{kind}` has no such settings: {', '.join(settings)}",
            hint="leave them out",
        ) from failure


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` into a folder."""
    pad, unk, cls, sep, mask = SPECIAL_TOKENS
    write_json(folder / TOKENIZER_FILE, tokenizer.to_json())
    write_json(
        folder / CONFIG_FILE,
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": pad,
            "unk_token": unk,
            "cls_token": cls,
            "sep_token": sep,
            "mask_token": mask,
            "clean_up_tokenization_spaces": False,
            "genomeformer": {"tokenizer": tokenizer.kind},
        },
    )


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of a corpus, checkpoint or bundle.

    Raises:
        CheckpointError: Its files are missing, unreadable, or say something else than the
            tokenizer they name.
    """
    hint = "the folder is incomplete; make or fetch it again"
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        kind = config["genomeformer"]["tokenizer"]
        vocabulary = json.loads((folder / TOKENIZER_FILE).read_text(encoding="utf-8"))["model"][
            "vocab"
        ]
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise CheckpointError(
            f"no readable tokenizer in `{folder}`: {failure}", hint=hint
        ) from failure
    tokenizer = build_tokenizer(kind)
    if vocabulary != {token: number for number, token in enumerate(tokenizer.tokens)}:
        raise CheckpointError(
            f"`{folder / TOKENIZER_FILE}` is not the `{kind}` tokenizer it claims to be", hint=hint
        )
    return tokenizer
