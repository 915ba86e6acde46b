"""Ids of other authors' tokenizers: stock classes of transformers, and numbers of authors' code.

The numbers and their origin are described in `tests/data/architectures/tokenizers/README.md`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import BertTokenizer, EsmTokenizer, PreTrainedTokenizerFast

from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.tokenizers.published.reading import read_published_tokenizer
from tests.published_tokenizers import BERT, LAYOUTS, esm_tokens, kmers, read, write_vocabulary

NUMBERS = Path(__file__).parents[1] / "data/architectures/tokenizers/expected.json"
NUM_STRINGS = (2_000, pytest.param(10_000, marks=pytest.mark.slow))


def random_strings(number: int, longest: int = 70) -> list[str]:
    """Strings of A C G T, a third of them with N and runs of N."""
    generator = np.random.default_rng(11)
    strings = []
    for size in generator.integers(1, longest, number):
        letters = generator.integers(0, 4, size)
        if generator.random() < 1 / 3:
            letters[generator.random(size) < generator.choice([0.03, 0.3])] = 4
            start = generator.integers(0, size)
            letters[start : start + generator.integers(0, 16)] = 4
        strings.append("".join("ACGTN"[letter] for letter in letters))
    return strings


def framed(tokenizer: Tokenizer, sequence: str) -> list[int]:
    ids = tokenizer.encode(encode_bases(sequence)).tolist()
    return [*tokenizer.prefix_ids, *ids, *tokenizer.suffix_ids]


@pytest.fixture(params=NUM_STRINGS)
def strings(request: pytest.FixtureRequest) -> list[str]:
    return random_strings(request.param)


def check(
    tokenizer: Tokenizer, strings: list[str], ids: Callable[[list[str]], list[list[int]]]
) -> None:
    for sequence, expected in zip(strings, ids(strings), strict=True):
        assert framed(tokenizer, sequence) == expected, sequence


@pytest.mark.parametrize(
    ("tokens", "eos"),
    [
        pytest.param(esm_tokens(6), None, id="first"),
        pytest.param(esm_tokens(3, "<eos>"), "<eos>", id="with eos", marks=pytest.mark.slow),
    ],
)
def test_esm_ids_are_those_of_the_stock_class(
    tmp_path: Path, strings: list[str], tokens: list[str], eos: str | None
) -> None:
    write_vocabulary(tmp_path, tokens)
    theirs: Any = EsmTokenizer.from_pretrained(str(tmp_path), eos_token=eos)
    tokenizer = read_published_tokenizer(tmp_path, "esm", num_rows=len(tokens))
    check(tokenizer, strings, lambda rows: theirs(rows)["input_ids"])


@pytest.mark.parametrize(
    "k", [pytest.param(k, marks=[pytest.mark.slow] if k in (4, 5) else []) for k in (3, 4, 5, 6)]
)
def test_dnabert_ids_are_those_of_the_stock_class_with_blanks(
    tmp_path: Path, strings: list[str], k: int
) -> None:
    write_vocabulary(tmp_path, [*BERT, *kmers(k)])
    theirs = BertTokenizer.from_pretrained(str(tmp_path), do_lower_case=False)

    def with_blanks(strings: list[str]) -> list[list[int]]:
        rows = [
            " ".join(text[i : i + k] for i in range(max(len(text) - k + 1, 1))) for text in strings
        ]
        ids: list[list[int]] = theirs(rows)["input_ids"]
        return ids

    check(read_published_tokenizer(tmp_path, "dnabert"), strings, with_blanks)


@pytest.mark.parametrize("name", [n for n, layout in LAYOUTS.items() if layout[0].endswith("json")])
def test_json_ids_are_those_of_the_stock_class(
    tmp_path: Path, strings: list[str], name: str
) -> None:
    tokenizer = read(name, tmp_path)
    theirs = PreTrainedTokenizerFast.from_pretrained(str(tmp_path))
    check(tokenizer, strings, lambda rows: theirs(rows)["input_ids"])


@pytest.mark.parametrize(
    "name", ["lca-6-1", "lca-6-2", "lca-1-1", "hyena", "caduceus", "generator", "carbon"]
)
def test_ids_are_those_of_the_authors_code(tmp_path: Path, name: str) -> None:
    tokenizer = _read_authors(name, tmp_path)
    numbers: dict[str, Any] = json.loads(NUMBERS.read_text())
    sequences, expected = numbers["sequences"], numbers["ids"][name]
    assert len(expected) == len(sequences) > 100
    for sequence, ids in zip(sequences, expected, strict=True):
        if ids is not None:
            assert framed(tokenizer, sequence) == ids, sequence


@pytest.mark.parametrize(
    ("sequence", "ids"), [("AAAAAATTTTTT", [1, 32, 1397]), ("ACGTNACGTNAC", [1, 0, 0])]
)
def test_ids_of_generator_are_those_recorded_with_its_weights(
    tmp_path: Path, sequence: str, ids: list[int]
) -> None:
    special = json.loads(NUMBERS.read_text())["generator_special"]
    tokens = [f"{token} {number}" for number, token in enumerate([*special, *kmers(6)])]
    write_vocabulary(tmp_path, tokens, k=6, add_bos_token=True, add_eos_token=False)
    assert framed(read_published_tokenizer(tmp_path, "generator", num_rows=4128), sequence) == ids


def _read_authors(name: str, folder: Path) -> Tokenizer:
    rule, *settings = name.split("-")
    if rule == "lca":
        k, shift = map(int, settings)
        write_vocabulary(folder, [*BERT, *kmers(k, "ACGT")], kmer=k, shift=shift)
    elif rule == "generator":
        special = [*json.loads(NUMBERS.read_text())["generator_special"]]
        write_vocabulary(folder, [*special, *kmers(6)], k=6)
    else:
        rule = {"hyena": "characters", "caduceus": "characters"}.get(rule, rule)
    return read_published_tokenizer(folder, rule)
