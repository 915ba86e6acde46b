"""Common parts of the Hugging Face JSON of all tokenizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from genomeformer_cli.core.documents import parse_json
from genomeformer_cli.core.sequence import AMBIGUITY_CODES, MASK_LETTER
from genomeformer_cli.core.tokenizers.protocol import PAD_ID, SPECIAL_TOKENS

Rule = tuple[str, str]
LETTER_RULES: tuple[Rule, ...] = (
    ("[a]", "A"),
    ("[c]", "C"),
    ("[g]", "G"),
    ("[tUu]", "T"),
    (f"[{AMBIGUITY_CODES[1:]}{AMBIGUITY_CODES.lower()}]", "N"),
    (f"[{MASK_LETTER}{MASK_LETTER.lower()}]", "N"),
)


def with_mask_rule(normalizer: Any, expected: dict[str, Any]) -> Any:
    """Add the rule for masked letters, which older files lack, to a normalizer.

    Args:
        normalizer: JSON of a saved normalizer, from any source.
        expected: JSON of the current normalizer.
    """
    index = len(LETTER_RULES) - 1
    rules, expected_rules = _rules(normalizer), _rules(expected)
    if (
        rules[:index] != expected_rules[:index]
        or rules[index : index + 1] == expected_rules[index : index + 1]
    ):
        return normalizer
    return {**normalizer, "normalizers": [*rules[:index], expected_rules[index], *rules[index:]]}


def _rules(normalizer: Any) -> list[Any]:
    rules = normalizer.get("normalizers") if isinstance(normalizer, dict) else None
    return rules if isinstance(rules, list) else []


def split(pattern: str) -> pre_tokenizers.PreTokenizer:
    """Return a pre-tokenizer that makes every match a separate piece."""
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def plain_json(
    model: models.Model,
    pre_tokenizer: pre_tokenizers.PreTokenizer,
    *,
    rules: Sequence[Rule] = (),
    joins: bool = True,
) -> dict[str, Any]:
    """Return the JSON of a tokenizer.

    Args:
        model: Maps pieces to ids.
        pre_tokenizer: Splits text into pieces.
        rules: Regular expressions and their replacements, applied after the rules for letters.
        joins: True if the concatenated tokens are the sequence.
    """
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(pattern), text) for pattern, text in (*LETTER_RULES, *rules)]
    )
    tokenizer.pre_tokenizer = pre_tokenizer
    if joins:
        tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.enable_padding(pad_id=PAD_ID, pad_token=SPECIAL_TOKENS[PAD_ID])
    plain: dict[str, Any] = parse_json(tokenizer.to_str(), source="tokenizer.json")
    return plain
