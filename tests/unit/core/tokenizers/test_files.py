"""Tokenizer files are written, read and checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.tokenizers.bpe import merges_of, train_bpe
from genomeformer_cli.core.tokenizers.files import (
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_FILE,
    build_tokenizer,
    load_tokenizer,
    save_tokenizer,
    tokenizer_names,
)


def test_an_unknown_tokenizer_is_refused_and_the_known_listed() -> None:
    with pytest.raises(ConfigError, match="`codon`") as caught:
        build_tokenizer("codon")
    assert tokenizer_names() == ["char", "kmer", "bpe"]
    for name in tokenizer_names():
        assert f"`{name}`" in str(caught.value.hint)


def test_byte_pairs_are_not_built_but_learned() -> None:
    with pytest.raises(ConfigError, match="is trained"):
        build_tokenizer("bpe", vocab_size=64)


@pytest.mark.parametrize(
    ("kind", "settings", "known"),
    [("char", {"k": 3}, "none"), ("kmer", {"k": 3, "vocab_size": 9}, "`k`, `stride`")],
)
def test_an_unknown_setting_is_refused(kind: str, settings: dict[str, int], known: str) -> None:
    with pytest.raises(ConfigError, match="has no setting") as caught:
        build_tokenizer(kind, **settings)
    assert known in str(caught.value.hint)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_tokenizer(build_tokenizer("char"), tmp_path)
    return tmp_path


def test_the_hugging_face_config_names_the_special_tokens(saved: Path) -> None:
    config = json.loads((saved / CONFIG_FILE).read_text(encoding="utf-8"))
    names = [config[f"{role}_token"] for role in ("pad", "unk", "cls", "sep", "mask")]
    assert names == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"


@pytest.mark.parametrize("name", [CONFIG_FILE, TOKENIZER_FILE])
@pytest.mark.parametrize("damage", [None, "", "{}", "[]"])
def test_a_damaged_tokenizer_file_is_an_error(saved: Path, name: str, damage: str | None) -> None:
    (saved / name).unlink()
    if damage is not None:
        (saved / name).write_text(damage, encoding="utf-8")
    with pytest.raises(CheckpointError, match="no readable tokenizer"):
        load_tokenizer(saved)


def test_a_vocabulary_in_another_order_is_refused(saved: Path) -> None:
    plain = json.loads((saved / TOKENIZER_FILE).read_text(encoding="utf-8"))
    vocabulary = plain["model"]["vocab"]
    vocabulary["A"], vocabulary["C"] = vocabulary["C"], vocabulary["A"]
    (saved / TOKENIZER_FILE).write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(CheckpointError, match="its vocabulary differs"):
        load_tokenizer(saved)


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer"])
def test_another_rule_of_cutting_is_refused(saved: Path, part: str) -> None:
    plain = json.loads((saved / TOKENIZER_FILE).read_text(encoding="utf-8"))
    plain[part] = None
    (saved / TOKENIZER_FILE).write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(CheckpointError, match="declared `char` tokenizer"):
        load_tokenizer(saved)


def test_settings_that_do_not_fit_the_file_are_refused(tmp_path: Path) -> None:
    save_tokenizer(build_tokenizer("kmer", k=3), tmp_path)
    config = json.loads((tmp_path / CONFIG_FILE).read_text(encoding="utf-8"))
    for settings, message in (
        ({"k": 3, "stride": 1}, "differs from the declared"),
        ({"k": 12}, "no readable"),
    ):
        config["genomeformer"]["settings"] = settings
        (tmp_path / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
        with pytest.raises(CheckpointError, match=message):
            load_tokenizer(tmp_path)


def test_special_tokens_are_in_a_file_of_their_own(saved: Path) -> None:
    names = json.loads((saved / SPECIAL_TOKENS_FILE).read_text(encoding="utf-8"))
    assert list(names.values()) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_byte_pairs_are_read_back_from_their_merges(tmp_path: Path) -> None:
    save_tokenizer(train_bpe([b"ACGTTGCA" * 50 + b"ACG" * 90], 30), tmp_path)
    original = load_tokenizer(tmp_path)
    assert original.settings["vocab_size"] == len(original.tokens)
    plain = json.loads((tmp_path / TOKENIZER_FILE).read_text(encoding="utf-8"))
    plain["model"]["merges"] = plain["model"]["merges"][::-1]
    (tmp_path / TOKENIZER_FILE).write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(CheckpointError, match="a merge joins tokens that do not exist"):
        load_tokenizer(tmp_path)


def test_merges_are_read_in_both_forms_that_were_ever_written() -> None:
    for merges in (["A C", "AC G"], [["A", "C"], ["AC", "G"]]):
        assert merges_of({"model": {"merges": merges}}) == (("A", "C"), ("AC", "G"))
    with pytest.raises(ValueError, match="no merges"):
        merges_of({"model": {}})
