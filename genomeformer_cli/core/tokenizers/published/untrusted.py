"""Checks of a downloaded `tokenizer.json` before the native library parses it.

The library trusts its files: one huge id allocates a table of that size, a merge of unknown tokens
ends the process, a regular expression can take exponential time, and a replacement can multiply the
text. Only components that are listed here are accepted, with expressions that cannot hang.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from genomeformer_cli.core.tokenizers.published.vocabulary import (
    MAX_FRAME,
    MAX_TOKEN_LENGTH,
    MAX_TOKENS,
)

MODELS = ("BPE", "WordPiece", "Unigram", "WordLevel")
_NORMALIZERS = (
    *("Sequence", "Strip", "Replace", "Prepend", "Lowercase", "BertNormalizer", "StripAccents"),
    *("NFC", "NFD", "NFKC", "NFKD"),
)
_PRE_TOKENIZERS = (
    *("Sequence", "Whitespace", "WhitespaceSplit", "BertPreTokenizer", "ByteLevel", "Metaspace"),
    *("Split", "Punctuation", "Digits", "CharDelimiterSplit"),
)
_POST_PROCESSORS = (
    *("Sequence", "TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel"),
)
_COMPONENTS = {
    "normalizer": _NORMALIZERS,
    "pre_tokenizer": _PRE_TOKENIZERS,
    "post_processor": _POST_PROCESSORS,
}
_INNER = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}
_INNER_POST = "processors"
_MAX_COMPONENTS = 64
_MAX_REPLACEMENT = 16
_MAX_PATTERN = 200
_PREFIX = "continuing_subword_prefix"
# Alternatives of letters and classes with one repeat of variable length: at worst quadratic time.
_ATOM = r"(?:[A-Za-z.\- ]|\[\^?[A-Za-z\- ]+\])"
_FIXED = rf"(?:{_ATOM}(?:\{{\d{{1,3}}\}})?)*"
_VARIABLE = rf"(?:{_ATOM}(?:[?+*]|\{{\d{{1,3}},(?:\d{{1,3}})?\}}))?"
_BRANCH = f"{_FIXED}{_VARIABLE}{_FIXED}"
_SIMPLE = re.compile(rf"{_BRANCH}(?:\|{_BRANCH})*")
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_PUNCTUATION = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Expressions of byte-level vocabularies; a run of letters is one match of them.
WORD_PATTERNS = frozenset(
    f"{_CONTRACTIONS}|[^\\r\\n\\p{{L}}\\p{{N}}]?\\p{{L}}+|{digits}|{_PUNCTUATION}"
    for digits in (r"\p{N}", r"\p{N}{1,3}")
)


def check_tokenizer_json(document: Mapping[str, Any]) -> None:
    """Refuse a `tokenizer.json` that could hang the library, exhaust memory or end the process.

    Raises:
        ValueError: A component, an expression, an id or a merge is refused.
    """
    for part in _COMPONENTS:
        for number, component in enumerate(components(document, part)):
            if number >= _MAX_COMPONENTS:
                raise ValueError(f"`{part}` has more than {_MAX_COMPONENTS} parts")
            _check_component(part, component)
    _check_model(document.get("model"))
    _check_added(document.get("added_tokens"))


def components(document: Mapping[str, Any], part: str) -> Iterator[Mapping[str, Any]]:
    """Yield the components of a part of a `tokenizer.json`; those of a sequence one by one.

    Raises:
        ValueError: A component is not an object.
    """
    pending = [document.get(part)]
    while pending:
        component = pending.pop(0)
        if component is None:
            continue
        if not isinstance(component, dict):
            raise ValueError(f"`{part}` is not an object")
        if component.get("type") == "Sequence":
            inner = component.get(_INNER.get(part, _INNER_POST))
            if not isinstance(inner, list):
                raise ValueError(f"`{part}` is a sequence of nothing")
            pending = [*inner, *pending]
        else:
            yield component


def pattern_of(component: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the pattern of a component, and True if it is a regular expression.

    Raises:
        ValueError: There is no pattern.
    """
    pattern = component.get("pattern")
    if isinstance(pattern, dict) and len(pattern) == 1:
        ((kind, text),) = pattern.items()
        if kind in ("Regex", "String") and isinstance(text, str) and text:
            return text, kind == "Regex"
    raise ValueError("a component has no pattern")


def _check_component(part: str, component: Mapping[str, Any]) -> None:
    kind = component.get("type")
    if kind not in _COMPONENTS[part]:
        raise ValueError(f"`{part}` of the type `{str(kind)[:40]}` is not supported")
    if kind in ("Replace", "Split"):
        pattern, is_expression = pattern_of(component)
        if len(pattern) > _MAX_PATTERN or (is_expression and not _is_safe(pattern)):
            raise ValueError(
                f"the regular expression `{pattern[:60]}` of `{part}` is not supported"
            )
    for key in ("content", "prepend", "replacement"):
        text = component.get(key)
        if text is not None and (not isinstance(text, str) or len(text) > _MAX_REPLACEMENT):
            raise ValueError(f"`{part}`: invalid `{key}`")
    if kind == "TemplateProcessing":
        single = component.get("single")
        if not isinstance(single, list) or len(single) > 2 * MAX_FRAME + 1:
            raise ValueError(f"`{part}`: more than {MAX_FRAME} tokens around a sequence")
        special = component.get("special_tokens")
        entries = special.values() if isinstance(special, dict) else ()
        for entry in entries:
            ids = entry.get("ids") if isinstance(entry, dict) else None
            if not isinstance(ids, list) or len(ids) > MAX_FRAME:
                raise ValueError(f"`{part}`: not a list of at most {MAX_FRAME} ids for one token")
        _check_pieces_of_template(single, special)


def _check_pieces_of_template(pieces: list[Any], special: Any) -> None:
    """Check that the library finds every token of a template; it ends the process otherwise."""
    for piece in pieces:
        token = piece.get("SpecialToken") if isinstance(piece, dict) else None
        if token is None:
            continue
        name = token.get("id") if isinstance(token, dict) else None
        if not isinstance(special, dict) or not isinstance(name, str) or name not in special:
            raise ValueError(f"`post_processor` has no token `{str(name)[:40]}`")


def _is_safe(pattern: str) -> bool:
    """Return True for expressions that need at most quadratic time."""
    return pattern in WORD_PATTERNS or _SIMPLE.fullmatch(pattern) is not None


def _check_model(model: Any) -> None:
    kind = model.get("type") if isinstance(model, dict) else model
    if not isinstance(model, dict) or kind not in MODELS:
        raise ValueError(f"a model of the type `{str(kind)[:40]}` is not supported")
    for key in (_PREFIX, "end_of_word_suffix"):
        text = model.get(key)
        if text is not None and (not isinstance(text, str) or len(text) > _MAX_REPLACEMENT):
            raise ValueError(f"invalid `{key}`")
    if kind == "Unigram":
        _check_pieces(model.get("vocab"))
        return
    vocabulary = _checked_ids(model.get("vocab"))
    if kind == "BPE":
        if model.get("dropout"):
            raise ValueError("merges with dropout give other tokens each time")
        _check_merges(model.get("merges"), vocabulary, model.get(_PREFIX) or "")
    else:
        _check_words(model, vocabulary)


def _checked_ids(vocabulary: Any) -> Mapping[str, int]:
    """Return a vocabulary after checking it."""
    if not isinstance(vocabulary, dict) or not 0 < len(vocabulary) <= MAX_TOKENS:
        raise ValueError(f"no vocabulary of 1 to {MAX_TOKENS:,} tokens")
    for token, number in vocabulary.items():
        _check_token(token, number)
    if len(set(vocabulary.values())) < len(vocabulary):
        raise ValueError("an id belongs to more than one token")
    return vocabulary


def _check_words(model: Mapping[str, Any], vocabulary: Mapping[str, int]) -> None:
    limit = model.get("max_input_chars_per_word", MAX_TOKENS)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ValueError("invalid `max_input_chars_per_word`")
    unknown = model.get("unk_token")
    if not isinstance(unknown, str) or unknown not in vocabulary:
        raise ValueError("the model has no unknown token")


def _check_token(token: Any, number: Any) -> None:
    if not isinstance(token, str) or len(token) > MAX_TOKEN_LENGTH:
        raise ValueError(f"a token is not a text of at most {MAX_TOKEN_LENGTH:,} characters")
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < MAX_TOKENS:
        raise ValueError(f"the token `{token[:40]}` has the invalid id `{str(number)[:40]}`")


def _check_pieces(pieces: Any) -> None:
    if not isinstance(pieces, list) or not 0 < len(pieces) <= MAX_TOKENS:
        raise ValueError(f"no vocabulary of 1 to {MAX_TOKENS:,} tokens")
    for number, piece in enumerate(pieces):
        if not isinstance(piece, list) or len(piece) != 2 or not isinstance(piece[1], int | float):
            raise ValueError(f"piece {number} is not a token and a score")
        _check_token(piece[0], number)


def _check_merges(merges: Any, vocabulary: Mapping[str, int], prefix: str) -> None:
    if not isinstance(merges, list) or len(merges) > MAX_TOKENS:
        raise ValueError(f"no merges, or more than {MAX_TOKENS:,}")
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError("a merge is not a pair of tokens")
        if any(not isinstance(token, str) or token not in vocabulary for token in pair):
            raise ValueError("a merge joins tokens that do not exist")
        # The library ends the process on a token that lacks the prefix or is too long.
        if not pair[1].startswith(prefix):
            raise ValueError(f"a merge joins a token that does not start with `{prefix}`")
        if pair[0] + pair[1][len(prefix) :] not in vocabulary:
            raise ValueError("a merge makes a token that does not exist")


def _check_added(added: Any) -> None:
    if added is None:
        return
    if not isinstance(added, list) or len(added) > MAX_TOKENS:
        raise ValueError("`added_tokens` is not a list")
    contents, numbers = set(), set()
    for token in added:
        if not isinstance(token, dict):
            raise ValueError("an added token is not an object")
        content, number = token.get("content"), token.get("id")
        _check_token(content, number)
        if not content or content in contents or number in numbers:
            raise ValueError(f"the added token `{str(content)[:40]}` occurs more than once")
        contents.add(content)
        numbers.add(number)
