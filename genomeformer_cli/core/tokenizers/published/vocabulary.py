"""Vocabularies of other authors' tokenizers: tokens by id, and the tokens with a role.

Files are untrusted: sizes are checked before a table is allocated, and every role must be a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from genomeformer_cli.core.documents import read_json
from genomeformer_cli.core.sequence import BASES, NUM_REAL_BASES

VOCABULARY_FILE = "vocab.txt"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
MAX_TOKENS = 1 << 20
MAX_TOKEN_LENGTH = 1 << 12
MAX_FILE_BYTES = 64 << 20
MAX_FRAME = 16
_MAX_CONFIG_BYTES = 8 << 20

ROLES = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")


@dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """Tokens with a role in the rows of a model."""

    pad: str
    unknown: str | None = None  # Token of everything that has no other token.
    mask: str | None = None  # Token that hides another one from a masked model.
    prefix: tuple[str, ...] = ()  # Tokens before every sequence.
    suffix: tuple[str, ...] = ()  # Tokens after every sequence.

    @property
    def tokens(self) -> tuple[str, ...]:
        """Tokens that have a role."""
        single = (self.pad, self.unknown, self.mask, *self.prefix, *self.suffix)
        return tuple(token for token in single if token is not None)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Tokens of a published tokenizer.

    Raises:
        ValueError: There are too many tokens, a token occurs twice, or a role has no token.
    """

    tokens: tuple[str, ...]  # Tokens by id.
    special: SpecialTokens

    def __post_init__(self) -> None:
        if not 0 < len(self.tokens) <= MAX_TOKENS:
            raise ValueError(f"{len(self.tokens):,} tokens; 1 to {MAX_TOKENS:,} are possible")
        if max(map(len, self.tokens)) > MAX_TOKEN_LENGTH:
            raise ValueError(f"a token has more than {MAX_TOKEN_LENGTH:,} characters")
        if len(self.ids) < len(self.tokens):
            twice = next(t for n, t in enumerate(self.tokens) if self.ids[t] != n)
            raise ValueError(f"the token `{twice[:40]}` occurs more than once")
        if "" in self.ids:
            raise ValueError(f"token {self.ids['']} is empty")
        for token in self.special.tokens:
            if token not in self.ids:
                raise ValueError(f"the special token `{token[:40]}` is missing")
        if max(len(self.special.prefix), len(self.special.suffix)) > MAX_FRAME:
            raise ValueError(f"more than {MAX_FRAME} tokens before or after a sequence")

    @cached_property
    def ids(self) -> dict[str, int]:
        """Ids by token."""
        return {token: number for number, token in enumerate(self.tokens)}

    @cached_property
    def kmers(self) -> dict[str, int]:
        """Ids of the tokens of upper-case A C G T only."""
        letters = set(BASES[:NUM_REAL_BASES])
        return {token: number for token, number in self.ids.items() if letters.issuperset(token)}


def check_rows(tokens: tuple[str, ...], num_rows: int | None) -> None:
    """Check that a model has an embedding for every id.

    Args:
        tokens: Tokens by id.
        num_rows: Rows of the embedding; None if it is not known.

    Raises:
        ValueError: An id has no row.
    """
    if num_rows is not None and len(tokens) > num_rows:
        raise ValueError(f"{len(tokens):,} tokens, but the model has embeddings of {num_rows:,}")


def read_vocabulary_file(path: Path) -> tuple[str, ...]:
    """Read a `vocab.txt`: one token per line, in the order of the ids.

    Raises:
        ValueError: The file is too large or not UTF-8.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"it has more than {MAX_FILE_BYTES:,} bytes")
    lines = content.decode("utf-8").splitlines()
    return tuple(line.strip() for line in islice(lines, MAX_TOKENS + 1))


def read_roles(folder: Path) -> dict[str, str | None]:
    """Read the tokens with a role from `special_tokens_map.json` and `tokenizer_config.json`.

    The latter has precedence, as in the Hugging Face library. Both files are optional.

    Raises:
        DocumentError: A file is damaged.
        ValueError: A role is not a token.
    """
    roles: dict[str, str | None] = {}
    for name in (SPECIAL_TOKENS_FILE, CONFIG_FILE):
        document = read_optional(folder / name)
        for role in ROLES:
            key = f"{role}_token"
            if key in document:
                roles[role] = _content(document[key], name, key)
    return roles


def read_optional(path: Path) -> dict[str, Any]:
    """Read a JSON file of settings; empty if the file is absent.

    Raises:
        DocumentError: The file is damaged.
    """
    if not path.is_file():
        return {}
    document: dict[str, Any] = read_json(path, max_bytes=_MAX_CONFIG_BYTES)
    return document


def _content(value: Any, name: str, key: str) -> str | None:
    if isinstance(value, dict):
        value = value.get("content")
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name}: invalid `{key}`")
    return value
