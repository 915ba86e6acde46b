"""Calls of the native library on untrusted files, whose failures are errors of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tokenizers import Tokenizer as HuggingFaceTokenizer

from genomeformer_cli.core.tokenizers.published.untrusted import check_tokenizer_json


@contextmanager
def library_errors() -> Iterator[None]:
    """Turn failures of the library, panics among them, into an error of the file.

    Raises:
        ValueError: The library failed, or the block refused the file.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, ValueError):
        raise
    # A panic of the native library is not an `Exception`.
    except BaseException as failure:
        raise ValueError(f"the library rejects it: {str(failure)[:200]}") from failure


def parse(document: Mapping[str, Any]) -> HuggingFaceTokenizer:
    """Build the library's tokenizer from an untrusted `tokenizer.json`.

    Raises:
        ValueError: The file is refused, or the library rejects it.
    """
    check_tokenizer_json(document)
    with library_errors():
        plain = HuggingFaceTokenizer.from_str(json.dumps(document))
    for token in document.get("added_tokens") or []:
        if plain.token_to_id(token["content"]) != token["id"]:
            raise ValueError(f"the added token `{token['content'][:40]}` has another id")
    return plain


def frame_of(plain: HuggingFaceTokenizer) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tokens that the post-processor puts before and after a sequence.

    Raises:
        ValueError: It changes the tokens of the sequence.
    """
    text = "ACGTTGCA"
    with library_errors():
        inside = plain.encode(text, add_special_tokens=False).ids
        framed = plain.encode(text, add_special_tokens=True)
    size = len(framed.ids) - len(inside)
    for start in range(size + 1):
        if framed.ids[start : start + len(inside)] == inside:
            tokens = framed.tokens
            return tuple(tokens[:start]), tuple(tokens[start + len(inside) :])
    raise ValueError("`post_processor` changes the tokens of the sequence")


def without_limits(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `tokenizer.json` without truncation and padding, which the caller does."""
    return {**document, "truncation": None, "padding": None}
