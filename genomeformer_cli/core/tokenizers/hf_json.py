"""The parts that the Hugging Face JSON of all our tokenizers has in common."""

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
    """Return a normalizer with the rule for masked letters, which older files lack.

    Args:
        normalizer: Plain form of a saved normalizer, from any source.
        expected: Plain form of the normalizer that is written today.
    """
    place = len(LETTER_RULES) - 1
    rules, wanted = _rules(normalizer), _rules(expected)
    if rules[:place] != wanted[:place] or rules[place : place + 1] == wanted[place : place + 1]:
        return normalizer
    return {**normalizer, "normalizers": [*rules[:place], wanted[place], *rules[place:]]}


def _rules(normalizer: Any) -> list[Any]:
    rules = normalizer.get("normalizers") if isinstance(normalizer, dict) else None
    return rules if isinstance(rules, list) else []


def split(pattern: str) -> pre_tokenizers.PreTokenizer:
    """Every match is a piece of its own."""
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def plain_json(
    model: models.Model,
    pre_tokenizer: pre_tokenizers.PreTokenizer,
    *,
    rules: Sequence[Rule] = (),
    joins: bool = True,
) -> dict[str, Any]:
    """The JSON of a tokenizer.

    Args:
        model: Pieces to ids.
        pre_tokenizer: Text to pieces.
        rules: Regular expressions and what they are replaced by, after the rules for letters.
        joins: Tokens set side by side are the sequence.
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
