"""Downloaded tokenizer files that attack the native library: one sentence, in bounded resources."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.tokenizers.published.reading import read_published_tokenizer
from tests.cli import run_python
from tests.published_tokenizers import bert_pairs

Document = dict[str, Any]
# Reads every folder under a memory limit; prints the seconds and the error of each.
PROBE = """
import json, resource, sys, time
from pathlib import Path
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.tokenizers.published.reading import read_published_tokenizer
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
for folder in sorted(Path(sys.argv[1]).iterdir()):
    start, text = time.process_time(), "accepted"
    try:
        read_published_tokenizer(folder, "tokenizer.json")
    except CheckpointError as failure:
        text = failure.message
    print(json.dumps([folder.name, time.process_time() - start, text]), flush=True)
"""


def nested(depth: int) -> Any:
    part: Any = {"type": "Lowercase"}
    for _ in range(depth):
        part = {"type": "Sequence", "normalizers": [part]}
    return part


def replace(pattern: dict[str, str], content: str = "A") -> Document:
    return {"normalizer": {"type": "Replace", "pattern": pattern, "content": content}}


def split(expression: str) -> Document:
    pattern = {"Regex": expression}
    return {"pre_tokenizer": {"type": "Split", "pattern": pattern, "behavior": "Isolated"}}


def changed_model(**changes: Any) -> Callable[[Document], Document]:
    return lambda document: {"model": {**document["model"], **changes}}


def vocabulary(**tokens: Any) -> Callable[[Document], Document]:
    return lambda document: {
        "model": {**document["model"], "vocab": {**document["model"]["vocab"], **tokens}}
    }


def added(**changes: Any) -> Callable[[Document], Document]:
    token = {
        "id": 500,
        "content": "X",
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
        **changes,
    }
    return lambda document: {"added_tokens": [*document["added_tokens"], token]}


def template(number: int, ids: int = 1) -> Document:
    piece = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    special = {"[CLS]": {"id": "[CLS]", "ids": [1] * ids, "tokens": ["[CLS]"] * ids}}
    single = [*[piece] * number, sequence]
    return {
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": single,
            "special_tokens": special,
        }
    }


# Changes of a good file, and a part of the error.
HOSTILE: dict[str, tuple[Document | Callable[[Document], Document], str]] = {
    "a huge id": (vocabulary(AAAAAAAAAAAA=4_000_000_000), "invalid id"),
    "a negative id": (vocabulary(AAAAAAAAAAAA=-1), "invalid id"),
    "an id beyond 64 bits": (vocabulary(AAAAAAAAAAAA=1 << 70), "invalid id"),
    "an id that is a truth value": (vocabulary(AAAAAAAAAAAA=True), "invalid id"),
    "an id twice": (vocabulary(AAAAAAAAAAAA=7), "more than one token"),
    "a huge token": (vocabulary(**{"A" * 100_000: 500}), "at most 4,096 characters"),
    "a huge added id": (added(id=4_000_000_000), "invalid id"),
    "an added token twice": (added(content="[CLS]", id=501), "occurs more than once"),
    "an added token of another id": (added(id=900), "has another id"),
    "an empty added token": (added(content=""), "occurs more than once"),
    "no vocabulary": (changed_model(vocab={}), "no vocabulary"),
    "a vocabulary of nothing": (changed_model(vocab=None), "no vocabulary"),
    "merges of unknown tokens": (changed_model(merges=["AAAAAAAAAAAAA C"]), "do not exist"),
    "a merge that makes no token": (
        lambda document: changed_model(
            merges=[*document["model"]["merges"], [max(document["model"]["vocab"], key=len)] * 2]
        )(document),
        "makes a token that does not exist",
    ),
    "a merge of one": (changed_model(merges=[["A"]]), "not a pair"),
    "no merges": (changed_model(merges=None), "no merges"),
    "merges at random": (changed_model(dropout=0.5), "dropout"),
    "another model": (changed_model(type="Lua"), "`Lua` is not supported"),
    "no unknown token": (
        changed_model(type="WordLevel", unk_token="?"),  # noqa: S106
        "no unknown token",
    ),
    "no model": ({"model": None}, "is not supported"),
    "exponential expression": (split("(A+)+$"), "regular expression"),
    "alternatives that overlap": (split("(A|AA)+$"), "regular expression"),
    "polynomial expression": (split("A*A*A*A*A*A*A*A*B"), "regular expression"),
    "many optional letters": (split("A?" * 40 + "A" * 40), "regular expression"),
    "many bounded repeats": (split("A{0,999}" * 6 + "B"), "regular expression"),
    "a possessive tower": (split("[A-z]{1,9}++{2}"), "regular expression"),
    "a back reference": (split("(A*)\\\\1+B"), "regular expression"),
    "a huge repeat": (split("A{99999}"), "regular expression"),
    "a nested repeat": (split("A{999}{999}{999}"), "regular expression"),
    "a long expression": (split("A" * 100_000), "regular expression"),
    "a hostile replacement": (replace({"Regex": "(x+x+)+y"}), "regular expression"),
    "a text that grows": (replace({"String": "A"}, "A" * 1_000_000), "invalid `content`"),
    "a pattern of nothing": (replace({"String": ""}), "no pattern"),
    "an unknown component": ({"normalizer": {"type": "Shell"}}, "`Shell` is not supported"),
    "a binary component": (
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
        "`Precompiled` is not supported",
    ),
    "deep nesting": ({"normalizer": nested(50_000)}, "cannot be read"),
    "many components": (
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 100_000}},
        "more than 64 parts",
    ),
    "a component that is a list": ({"pre_tokenizer": [1]}, "not an object"),
    "a long frame": (template(100_000), "tokens around a sequence"),
    "a wide frame": (template(1, ids=100_000), "ids for one token"),
    "a list as unknown token": (
        changed_model(type="WordLevel", unk_token=[]),
        "no unknown token",
    ),
    "a number of ids": (
        {
            "post_processor": {
                **template(1)["post_processor"],
                "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": 1, "tokens": []}},
            }
        },
        "ids for one token",
    ),
    "a prefix beyond the token": (
        changed_model(continuing_subword_prefix="x" * 5000),
        "invalid `continuing_subword_prefix`",
    ),
    "a prefix that no token has": (
        changed_model(continuing_subword_prefix="##"),
        "does not start with `##`",
    ),
    "a frame of no token": (
        {"post_processor": {**template(1)["post_processor"], "special_tokens": {}}},
        "has no token `[CLS]`",
    ),
    "letters that become others": (replace({"String": "A"}, "C"), "of other bases"),
    "letters that become unknown": (replace({"String": "A"}, "!"), "no tokens for"),
}
ACCEPTED: dict[str, Document] = {
    "padding to a huge length": {
        "padding": {
            "strategy": {"Fixed": 1 << 40},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 3,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        }
    },
    "truncation to nothing": {
        "truncation": {
            "direction": "Right",
            "max_length": 0,
            "strategy": "LongestFirst",
            "stride": 0,
        }
    },
}


@pytest.fixture(scope="module")
def good() -> Document:
    document: Document = json.loads(bert_pairs().to_str())
    return document


def write(folder: Path, good: Document, change: Any) -> None:
    folder.mkdir()
    changes = change(good) if callable(change) else change
    if "normalizer" in changes and isinstance(changes["normalizer"], dict):
        text = _dump({**good, "normalizer": None}).replace(
            '"normalizer": null', f'"normalizer": {_dump_deep(changes["normalizer"])}'
        )
    else:
        text = _dump({**good, **changes})
    (folder / "tokenizer.json").write_text(text)


def _dump(document: Document) -> str:
    return json.dumps(document)


def _dump_deep(part: Any) -> str:
    """Write JSON of any depth, which `json` refuses."""
    opening, closing = '{"type": "Sequence", "normalizers": [', "]}"
    depth = 0
    while part.get("type") == "Sequence" and len(part["normalizers"]) == 1:
        part, depth = part["normalizers"][0], depth + 1
    return opening * depth + json.dumps(part) + closing * depth


def test_hostile_files_are_refused_in_bounded_time_and_memory(
    tmp_path: Path, good: Document
) -> None:
    for name, (change, _) in HOSTILE.items():
        write(tmp_path / name, good, change)
    done = run_python("-c", PROBE, str(tmp_path))
    assert done.exit_code == 0, done.err
    rows = {name: (seconds, text) for name, seconds, text in map(json.loads, done.out.splitlines())}
    assert rows.keys() == HOSTILE.keys()
    for name, (_, expected) in HOSTILE.items():
        seconds, text = rows[name]
        assert expected in text, f"{name}: {text}"
        assert "tokenizer.json" in text, name
        assert len(text) < 600, name
        assert seconds < 5, name


@pytest.mark.parametrize("name", ACCEPTED)
def test_limits_of_a_file_are_left_out(tmp_path: Path, good: Document, name: str) -> None:
    write(tmp_path / "given", good, ACCEPTED[name])
    write(tmp_path / "plain", good, {})
    given = read_published_tokenizer(tmp_path / "given", "tokenizer.json")
    plain = read_published_tokenizer(tmp_path / "plain", "tokenizer.json")
    assert given.rules == plain.rules
    assert given.tokens == plain.tokens


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path: Path, good: Document, kept: float) -> None:
    text = _dump(good)
    (tmp_path / "tokenizer.json").write_text(text[: int(len(text) * kept)])
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        read_published_tokenizer(tmp_path, "tokenizer.json")
