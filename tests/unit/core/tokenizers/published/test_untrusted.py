"""Regular expressions that a downloaded tokenizer may have."""

from __future__ import annotations

import pytest

from genomeformer_cli.core.tokenizers.published.untrusted import check_tokenizer_json

MODEL = {"type": "WordLevel", "vocab": {"A": 0, "?": 1}, "unk_token": "?"}
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
OTHERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def check(expression: str) -> None:
    pattern = {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated"}
    check_tokenizer_json({"pre_tokenizer": pattern, "model": MODEL})


@pytest.mark.parametrize(
    "expression",
    [
        *(".", "N{10,}", "[ACGT]{1,512}|N", "[ACGT]{6}|[ACGTN]", "[^A-Z]+", "N+", ".{6}|.", "-"),
        rf"{CONTRACTIONS}|{WORDS}|\p{{N}}|{OTHERS}",
        rf"{CONTRACTIONS}|{WORDS}|\p{{N}}{{1,3}}|{OTHERS}",
    ],
)
def test_expressions_of_the_field_are_accepted(expression: str) -> None:
    check(expression)


@pytest.mark.parametrize(
    "expression",
    [
        *("(A|B)", "A+B+", "A*?B*", "(?=A)", r"\d", r"\1", "A++", "[A", "A{2}{3}", "A{1000}"),
        *("A?A?", "A{1,2}A{1,2}", "(?#x)", "^A", "[A-Z&&[^N]]+", "A{,5}A{,5}"),
    ],
)
def test_other_expressions_are_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="regular expression"):
        check(expression)
