"""JSON and TOML become typed objects, or an error that names the file and the key."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomeformer_cli.core import documents
from genomeformer_cli.core.documents import (
    MAX_DEPTH,
    DocumentError,
    convert,
    parse_json,
    parse_toml,
    read_json,
    read_json_lines,
    unknown_keys,
)
from genomeformer_cli.core.errors import GenomeformerError


@dataclass(frozen=True, kw_only=True)
class Inner:
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    many: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({}, ""),
        ({"name": 5}, "name"),
        ({"name": "a", "inner": {"count": "1"}}, "inner.count"),
        ({"name": "a", "inner": {"count": True}}, "inner.count"),
        ({"name": "a", "inner": {"count": 1.5}}, "inner.count"),
        ({"name": "a", "many": [{}, {"count": None}]}, "many[1].count"),
        ([], ""),
        (None, ""),
    ],
)
def test_an_error_names_the_source_and_the_key(value: object, place: str) -> None:
    with pytest.raises(DocumentError) as caught:
        convert(value, Outer, source="x.json")
    assert caught.value.place == place
    assert "`x.json`" in caught.value.message
    assert place in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "Infinity",
        "[-Infinity]",
        "1e999",
        "1" * 5000,
        "[" * 10_000,
        '{"a":' * 10_000,
        "{",
        "",
    ],
)
def test_what_is_not_json_within_bounds_is_refused(text: str) -> None:
    with pytest.raises(DocumentError, match="`x`"):
        parse_json(text, source="x")


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH + 1])
def test_depth_has_a_bound(depth: int) -> None:
    text = "[" * depth + "]" * depth
    if depth < MAX_DEPTH:
        assert parse_json(text, source="x")
        return
    with pytest.raises(DocumentError, match="nested"):
        parse_json(text, source="x")


def test_size_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": "' + "a" * 1000 + '"}', encoding="utf-8")
    assert read_json(path)
    with pytest.raises(DocumentError, match="more than 100 bytes"):
        read_json(path, max_bytes=100)


def test_a_line_has_a_bound_and_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n', encoding="utf-8")
    assert list(read_json_lines(path)) == [(1, {"a": 1}), (3, {"a": 2})]
    monkeypatch.setattr(documents, "MAX_LINE_BYTES", 7)
    with pytest.raises(DocumentError, match="line 1"):
        list(read_json_lines(path))


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    for read in (read_json, documents.read_toml, lambda path: list(read_json_lines(path))):
        with pytest.raises(DocumentError, match=str(tmp_path)):
            read(tmp_path / name)


def test_bytes_that_are_not_utf_8_are_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b'a = "\xff"')
    with pytest.raises(DocumentError, match="byte 5 is not UTF-8"):
        documents.read_toml(tmp_path / "x")


def test_a_byte_order_mark_opens_a_toml(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfa = 1\n")
    assert documents.read_toml(tmp_path / "x") == {"a": 1}


def test_unknown_keys_are_found_at_any_depth() -> None:
    value = {"name": "a", "x": 1, "inner": {"y": 1}, "many": [{}, {"z": 1}]}
    assert [name for name, _ in unknown_keys(Outer, value)] == ["x", "inner.y", "many[1].z"]


TEXTS = st.text(st.characters(codec="utf-8"), max_size=3)
NUMBERS = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
)


@given(PLAIN)
def test_json_comes_back_as_it_was(value: Any) -> None:
    assert parse_json(json.dumps(value), source="x") == value


@given(st.binary())
def test_any_bytes_are_a_value_or_an_error_of_ours(content: bytes) -> None:
    for kind in (Any, dict[str, Any], Outer):
        for nonfinite in (False, True):
            try:
                parse_json(content, kind, source="x", nonfinite=nonfinite)
            except GenomeformerError as failure:
                assert failure.hint  # noqa: PT017 - it may also succeed
    try:
        parse_toml(content.decode("latin-1"), source="x")
    except GenomeformerError as failure:
        assert failure.hint  # noqa: PT017
