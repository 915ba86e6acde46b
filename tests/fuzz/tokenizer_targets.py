"""Parsers of other authors' tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import Tokenizer as HuggingFaceTokenizer

from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.tokenizers.files import load_tokenizer, save_tokenizer
from genomeformer_cli.core.tokenizers.published.reading import read_published_tokenizer
from tests.fuzz.folder_targets import Read, Target
from tests.published_tokenizers import (
    BERT,
    BERT_ROLES,
    GENERATOR,
    bert_pairs,
    byte_pairs,
    characters,
    esm_tokens,
    gap_pairs,
    kmers,
    pieces,
    read,
    wordpiece,
)

SEQUENCES = ("", "A", "ACGTTGCANNACGTACGTTT", "N" * 12, "ACGT" * 40)


def _read(rule: str, others: dict[str, str], **settings: Any) -> Read:
    """Return a reader of a folder in which the file lies beside others; it encodes sequences."""

    def read_beside(path: Path) -> object:
        for name, content in others.items():
            if name != path.name:
                (path.parent / name).write_text(content)
        tokenizer = read_published_tokenizer(path.parent, rule, **settings)
        for sequence in SEQUENCES:
            codes = encode_bases(sequence)
            ids = tokenizer.encode(codes)
            tokenizer.decode(ids)
            assert len(tokenizer.offsets(codes)) == ids.size
        return tokenizer

    return read_beside


def _saved(name: str) -> dict[str, bytes]:
    """Return the files of a tokenizer as we save it."""
    with TemporaryDirectory() as place:
        folder, copy = Path(place) / "theirs", Path(place) / "ours"
        copy.mkdir()
        save_tokenizer(read(name, folder), copy)
        return {path.name: path.read_bytes() for path in copy.iterdir()}


def _load(name: str) -> Read:
    """Return a reader of a saved tokenizer in which the file takes the place of one."""
    files = _saved(name)

    def load(path: Path) -> object:
        for other, content in files.items():
            if other != path.name:
                (path.parent / other).write_bytes(content)
        return load_tokenizer(path.parent)

    return load


def _json(tokenizer: HuggingFaceTokenizer) -> bytes:
    return tokenizer.to_str().encode()


def _lines(*tokens: str) -> bytes:
    return "\n".join(tokens).encode() + b"\n"


def tokenizer_targets() -> dict[str, Target]:
    """Return the parsers of this file by name."""
    roles = json.dumps(BERT_ROLES)
    words = _lines(*BERT, *kmers(3)).decode()
    return {
        "published-json": Target(
            read=_read("tokenizer.json", {"tokenizer_config.json": roles}),
            seeds=(
                *map(_json, (bert_pairs(120), gap_pairs(120), byte_pairs(300), pieces())),
                *map(_json, (characters("ACGT"), wordpiece(5000))),
            ),
            name="tokenizer.json",
        ),
        "published-roles": Target(
            read=_read("bert", {"vocab.txt": words, "tokenizer_config.json": "{}"}),
            seeds=(roles.encode(),),
            name="special_tokens_map.json",
        ),
        "published-carbon": Target(
            read=_read("carbon", {}, num_rows=200),
            seeds=(b'{"k": 3, "dna_start_id": 40, "auto_dna_tags": false}',),
            name="dna_config.json",
        ),
        **{
            f"saved-{kind}-{file.partition('.')[0]}": Target(
                read=_load(layout), seeds=(_saved(layout)[file],), name=file
            )
            for kind, layout in (("windows", "dnabert, 3-mers"), ("greedy", "esm, eos"))
            for file in ("tokenizer.json", "tokenizer_config.json")
        },
        **{
            f"published-{rule}": Target(
                read=_read(rule, {}, **settings), seeds=(content,), name="vocab.txt"
            )
            for rule, content, settings in (
                ("esm", _lines(*esm_tokens(3, "<eos>")), {"num_rows": 73}),
                ("dnabert", words.encode(), {}),
                ("lca", words.encode(), {"shift": 2}),
                ("generator", _lines(*GENERATOR, *kmers(3)), {}),
            )
        },
    }
