"""Output of `--inspect`, compared with the tokenizer."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.store.layout import Kind, Store
from genomeformer_cli.core.tokenizers.bpe import train_bpe
from genomeformer_cli.core.tokenizers.files import build_tokenizer, save_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.workflows.tokenize_inspect import InspectRequest, inspect_sequences
from genomeformer_cli.render.tokens import TokensView
from tests.corpora import random_dna
from tests.published_tokenizers import LAYOUTS, read
from tests.strategies import repeatable

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("char", {}),
    ("kmer", {"k": 6}),
    ("kmer", {"k": 8, "stride": 1}),
    ("kmer", {"k": 5, "stride": 3}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS)
@given(text=st.text(alphabet="ACGTNacgtRU", min_size=1, max_size=60))
def test_tokens_are_the_tokenizers(kind: str, options: dict[str, Any], text: str) -> None:
    tokenizer = build_tokenizer(kind, **options)
    codes = encode_bases(text)
    found = inspect_sequences(InspectRequest(source=text, tokenizer=kind, settings=options))
    (record,) = found.records
    assert found.complete
    assert record.complete
    assert record.sequence == text
    assert list(record.ids) == tokenizer.encode(codes).tolist()
    assert [list(pair) for pair in record.offsets] == tokenizer.offsets(codes).tolist()
    assert [tokenizer.tokens[number] for number in record.ids] == list(record.tokens)
    treatment = record.treatment
    assert treatment.num_lower_case == sum(letter.islower() for letter in text)
    assert treatment.num_unknown == text.upper().count("N")
    assert treatment.ambiguous == ({"R": text.count("R")} if "R" in text else {})
    assert treatment.num_uracil == text.count("U")
    alone = [token for token in record.tokens if token in tuple("ACGT")]
    assert treatment.num_spelled == (len(alone) if kind == "kmer" else 0)


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("limit", [1, 5, 6, 100, 511, 700])
def test_the_end_of_what_is_shown_is_not_taken_for_the_end_of_the_record(
    kind: str, options: dict[str, Any], limit: int, tmp_path: Path
) -> None:
    sequence = random_dna(600, 1) + "NN" + random_dna(1400, 2)
    (tmp_path / "x.fa").write_text(f">a\n{sequence}\n>b\nACGT\n", encoding="utf-8")
    tokenizer = build_tokenizer(kind, **options)
    whole = tokenizer.encode(encode_bases(sequence)).tolist()
    for source in (sequence, str(tmp_path / "x.fa")):
        request = InspectRequest(source=source, tokenizer=kind, settings=options, limit=limit)
        found = inspect_sequences(request)
        (record,) = found.records
        assert not found.complete
        assert not record.complete
        assert limit <= len(record.sequence) < limit + 8
        assert list(record.ids) == whole[: len(record.ids)]
        assert sequence.startswith(record.sequence)


def test_byte_pairs_are_those_of_the_whole_record(tmp_path: Path) -> None:
    sequence = random_dna(3000, 3)
    tokenizer = train_bpe([sequence.encode()], 60)
    save_tokenizer(tokenizer, tmp_path)
    whole = tokenizer.encode(encode_bases(sequence)).tolist()
    for limit in (1, 510, 1023, 2000):
        request = InspectRequest(source=sequence, vocabulary=str(tmp_path), limit=limit)
        (record,) = inspect_sequences(request).records
        assert list(record.ids) == whole[: len(record.ids)]
        assert len(record.sequence) >= limit


def test_the_limit_is_over_all_records(tmp_path: Path) -> None:
    path = tmp_path / "x.fa"
    path.write_text(">a\nACGTAC\n>b\n>c\nACGTACGT\n>d\nA\n", encoding="utf-8")
    found = inspect_sequences(InspectRequest(source=str(path), limit=9))
    shown = [(record.id, record.sequence, record.complete) for record in found.records]
    assert shown == [("a", "ACGTAC", True), ("b", "", True), ("c", "AC", False)]
    assert not found.complete
    assert inspect_sequences(InspectRequest(source=str(path), limit=16)).complete


def test_a_vocabulary_is_a_name_a_folder_or_a_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    with store.create(Kind.VOCABULARIES, "three") as folder:
        save_tokenizer(build_tokenizer("kmer", k=3), folder)
    place = store.path(Kind.VOCABULARIES, "three")
    for named in ("three", str(place), str(place / "tokenizer.json")):
        request = InspectRequest(source="ACGTAC", vocabulary=named)
        found = inspect_sequences(request, store=store)
        assert found.records[0].tokens == ("ACG", "TAC")
        assert found.settings == {"k": 3, "stride": 3}


def test_dna_is_dna_though_a_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CAT", "genome"):
        (tmp_path / name).write_text(">a\nGG\n", encoding="utf-8")
    sequences = {
        source: inspect_sequences(InspectRequest(source=source)).records[0].sequence
        for source in ("CAT", "./CAT", "genome", " CA\nT ")
    }
    assert sequences == {"CAT": "CAT", "./CAT": "GG", "genome": "GG", " CA\nT ": "CAT"}


@pytest.mark.parametrize("name", LAYOUTS)
@settings(repeatable, max_examples=15)
@given(text=st.text(alphabet="ACGTNacgtRU", min_size=1, max_size=60))
def test_tokens_of_other_authors_are_shown(
    name: str, text: str, published: dict[str, tuple[Tokenizer, Path]]
) -> None:
    tokenizer, folder = published[name]
    found = inspect_sequences(InspectRequest(source=text, vocabulary=str(folder)))
    (record,) = found.records
    assert list(record.ids) == tokenizer.encode(encode_bases(text)).tolist()
    treatment = record.treatment
    over_n = {
        (tokenizer.tokens[number], number)
        for number, (start, stop) in zip(record.ids, record.offsets, strict=True)
        if set(text[start:stop].upper()) & set("NR")
    }
    assert set(treatment.unknown) == over_n
    output = io.StringIO()
    Console(width=80, file=output).print(TokensView(found))
    shown = output.getvalue()
    assert ("a token of its own each" in shown) == (
        "N" in text.upper() and treatment.is_unknown_alone and len(over_n) == 1
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Tokenizer, Path]]:
    found = {}
    for name in LAYOUTS:
        tokenizer = read(name, tmp_path_factory.mktemp("published"))
        folder = tmp_path_factory.mktemp("saved")
        save_tokenizer(tokenizer, folder)
        found[name] = (tokenizer, folder)
    return found
