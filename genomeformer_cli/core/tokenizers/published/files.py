"""Hugging Face JSON of tokenizers with a list of tokens, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from genomeformer_cli.core.documents import parse_json
from genomeformer_cli.core.tokenizers.hf_json import LETTER_RULES, Rule
from genomeformer_cli.core.tokenizers.published.vocabulary import (
    MAX_TOKENS,
    SpecialTokens,
    Vocabulary,
)


def vocabulary_json(
    vocabulary: Vocabulary,
    pre_tokenizer: pre_tokenizers.PreTokenizer,
    *,
    rules: Sequence[Rule] = (),
    is_text: bool = False,
) -> dict[str, Any]:
    """Return the JSON of a tokenizer that looks up pieces of text in a vocabulary.

    Args:
        vocabulary: Tokens and their roles.
        pre_tokenizer: Splits text into pieces.
        rules: Regular expressions and their replacements, applied after the rules for letters.
        is_text: True if the concatenated tokens are the sequence.
    """
    special = vocabulary.special
    model = models.WordLevel(vocab=dict(vocabulary.ids), unk_token=special.unknown or special.pad)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(pattern), text) for pattern, text in (*LETTER_RULES, *rules)]
    )
    tokenizer.pre_tokenizer = pre_tokenizer
    if is_text:
        tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(list(dict.fromkeys(special.tokens)))
    tokenizer.enable_padding(pad_id=vocabulary.ids[special.pad], pad_token=special.pad)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[*special.prefix, "$A", *special.suffix],
        special_tokens=[(t, vocabulary.ids[t]) for t in {*special.prefix, *special.suffix}],
    )
    plain: dict[str, Any] = parse_json(tokenizer.to_str(), source="tokenizer.json")
    return plain


def role_tokens(special: SpecialTokens) -> dict[str, str]:
    """Return the entries of `tokenizer_config.json` for tokens with a role."""
    roles = {"pad_token": special.pad, "unk_token": special.unknown, "mask_token": special.mask}
    return {role: token for role, token in roles.items() if token is not None}


def vocabulary_of(saved: Mapping[str, Any], special: SpecialTokens) -> Vocabulary:
    """Return the vocabulary of a JSON that `vocabulary_json` wrote.

    Raises:
        ValueError: The ids are not those of a list of tokens.
    """
    model = saved.get("model")
    ids = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(ids, dict) or not 0 < len(ids) <= MAX_TOKENS:
        raise ValueError("tokenizer.json: no vocabulary, or one that is too large")
    tokens = sorted(ids, key=lambda token: ids[token] if isinstance(ids[token], int) else -1)
    if [ids[token] for token in tokens] != list(range(len(ids))):
        raise ValueError("tokenizer.json: the ids of the vocabulary are not 0, 1, 2, ...")
    return Vocabulary(tokens=tuple(tokens), special=special)
