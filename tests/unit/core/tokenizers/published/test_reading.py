"""Files of other authors' tokenizers: what they say, what they lack, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.tokenizers.published.reading import read_published_tokenizer
from tests.published_tokenizers import (
    BERT,
    GENERATOR,
    bert_pairs,
    esm_tokens,
    kmers,
    write_carbon,
    write_json,
    write_vocabulary,
)

BRACKETS = {f"{role}_token": f"[{role.upper()}]" for role in ("cls", "pad", "unk", "mask")}


def test_first_nucleotide_transformers_have_no_token_after_a_sequence(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, esm_tokens(6), eos_token="<eos>")  # noqa: S106
    tokenizer = read_published_tokenizer(tmp_path, "esm", num_rows=4105)
    assert (tokenizer.prefix_ids, tokenizer.suffix_ids) == ((3,), ())
    assert (tokenizer.pad_id, tokenizer.mask_id) == (1, 2)
    assert tokenizer.base_ids == (4100, 4102, 4103, 4101)
    ids = tokenizer.encode(encode_bases("ATTCCGATTCCGATTCCGNAC"))
    assert ids.max() < 4105
    assert ids.tolist()[-3:] == [4104, 4100, 4102]


@pytest.mark.parametrize("config", [{"eos_token": None}, {}, {"eos_token": "<eos>"}])
def test_tokens_beyond_the_embedding_are_left_out(tmp_path: Path, config: dict[str, Any]) -> None:
    write_vocabulary(tmp_path, esm_tokens(6, "<eos>", "<bos>"), **config)
    tokenizer = read_published_tokenizer(tmp_path, "esm", num_rows=4105)
    assert len(tokenizer.tokens) == 4105
    assert tokenizer.suffix_ids == ()


@pytest.mark.parametrize(
    ("config", "suffix"), [({}, (73,)), ({"eos_token": None}, ()), ({"eos_token": "<bos>"}, (74,))]
)
def test_token_after_a_sequence_of_esm(
    tmp_path: Path, config: dict[str, Any], suffix: tuple[int, ...]
) -> None:
    write_vocabulary(tmp_path, esm_tokens(3, "<eos>", "<bos>"), **config)
    assert read_published_tokenizer(tmp_path, "esm", num_rows=75).suffix_ids == suffix


def test_kmers_of_dnabert_need_no_blanks(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, [*BERT, *kmers(3)])
    tokenizer = read_published_tokenizer(tmp_path, "dnabert")
    ids = tokenizer.encode(encode_bases("acgtNACG"))
    names = ["ACG", "CGT", "[UNK]", "[UNK]", "[UNK]", "ACG"]
    assert [tokenizer.tokens[number] for number in ids] == names
    assert tokenizer.decode(ids) == "ACGTNACG"
    assert tokenizer.encode(encode_bases("AC")).tolist() == [1]
    assert tokenizer.offsets(encode_bases("AC")).tolist() == [[0, 2]]


@pytest.mark.parametrize(
    ("tokens", "has_json", "kind"),
    [
        ([*BERT, *kmers(3)], False, "windows"),
        ([*BERT, *kmers(3)], True, "windows"),
        ([*BERT, *kmers(3), *"ACGT"], True, "huggingface"),
        ([*BERT, "AC", "ACG"], True, "huggingface"),
        (None, True, "huggingface"),
    ],
)
def test_rule_of_a_bert_model_is_found(
    tmp_path: Path, tokens: list[str] | None, *, has_json: bool, kind: str
) -> None:
    if has_json:
        write_json(tmp_path, bert_pairs())
    if tokens is not None:
        write_vocabulary(tmp_path, tokens)
    assert read_published_tokenizer(tmp_path, "bert").kind == kind


@pytest.mark.parametrize(
    ("name", "settings", "kind"),
    [
        # The vocabulary of a BERT model alone would be read as overlapping k-mers.
        ("EsmTokenizer", BRACKETS, "greedy-kmers"),
        ("BertTokenizer", {}, "windows"),
        ("LCATokenizer", {"shift": 3}, "windows"),
    ],
)
def test_the_named_class_decides_how_tokens_are_cut(
    tmp_path: Path, name: str, settings: dict[str, str | int], kind: str
) -> None:
    tokens = [*BERT, *kmers(3), *("ACGT" if name == "EsmTokenizer" else "")]
    write_vocabulary(tmp_path, tokens, tokenizer_class=name, **settings)
    tokenizer = read_published_tokenizer(tmp_path, "bert")
    assert tokenizer.kind == kind
    stride = 3 if name == "EsmTokenizer" else settings.get("shift", 1)
    assert tokenizer.settings["stride"] == stride


def test_a_class_of_another_family_contradicts_its_settings(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, [*BERT, *kmers(3)], tokenizer_class="CaduceusTokenizer")
    with pytest.raises(CheckpointError, match="rule `characters`"):
        read_published_tokenizer(tmp_path, "lca", shift=1)


@pytest.mark.parametrize(("k", "shift"), [(6, 1), (6, 2), (1, 1)])
def test_bases_after_the_last_window_of_lca_belong_to_it(
    tmp_path: Path, k: int, shift: int
) -> None:
    write_vocabulary(tmp_path, [*BERT, *kmers(k, "ACGT")], kmer=k, shift=shift)
    tokenizer = read_published_tokenizer(tmp_path, "lca")
    offsets = tokenizer.offsets(encode_bases("ACGTACGTA"))
    assert len(offsets) == (9 - k) // shift + 1
    assert offsets[-1, 1] == 9
    assert tokenizer.settings["stride"] == shift


@pytest.mark.parametrize(
    ("config", "prefix", "suffix"),
    [
        ({}, (1,), (2,)),
        ({"add_bos_token": True, "add_eos_token": False}, (1,), ()),
        ({"add_bos_token": False, "add_eos_token": False}, (), ()),
    ],
)
def test_rest_of_a_sequence_of_generator_is_unknown(
    tmp_path: Path, config: dict[str, Any], prefix: tuple[int, ...], suffix: tuple[int, ...]
) -> None:
    write_vocabulary(tmp_path, [*GENERATOR, *kmers(6)], **config)
    tokenizer = read_published_tokenizer(tmp_path, "generator")
    assert (tokenizer.prefix_ids, tokenizer.suffix_ids) == (prefix, suffix)
    codes = encode_bases("ATCGATACGNACGGG")
    names = [tokenizer.tokens[number] for number in tokenizer.encode(codes)]
    assert names == ["ATCGAT", "<oov>", "<oov>"]
    assert tokenizer.offsets(codes).tolist() == [[0, 6], [6, 12], [12, 15]]


@pytest.mark.parametrize("separator", ["\t", " "])
def test_vocabularies_of_generator_may_list_ids(tmp_path: Path, separator: str) -> None:
    tokens = [*GENERATOR, *kmers(6)]
    write_vocabulary(tmp_path, [f"{token}{separator}{n}" for n, token in enumerate(tokens)], k=6)
    tokenizer = read_published_tokenizer(tmp_path, "generator")
    assert list(tokenizer.tokens) == tokens


def test_rest_of_a_sequence_of_carbon_is_completed(tmp_path: Path) -> None:
    tokenizer = read_published_tokenizer(tmp_path, "carbon", num_rows=155_776)
    assert tokenizer.prefix_ids == (151_669,)
    # The id that the authors name in their code.
    assert tokenizer.encode(encode_bases("CCCCCC")).tolist() == [154_402]
    codes = encode_bases("CCCCCCGT")
    assert [tokenizer.tokens[n] for n in tokenizer.encode(codes)] == ["CCCCCC", "GTAAAA"]
    assert tokenizer.offsets(codes).tolist() == [[0, 6], [6, 8]]


def test_characters_have_the_ids_of_the_published_code(tmp_path: Path) -> None:
    tokenizer = read_published_tokenizer(tmp_path, "characters", num_rows=16)
    assert tokenizer.encode(encode_bases("ACGTNryu")).tolist() == [7, 8, 9, 10, 11, 11, 11, 10]
    assert (tokenizer.prefix_ids, tokenizer.suffix_ids, tokenizer.pad_id) == ((), (1,), 4)


def lines(*tokens: str) -> str:
    return "\n".join(tokens) + "\n"


FULL = ("<unk>", "<pad>", "<mask>", "<cls>", *kmers(3), *"ATCGN")


@pytest.mark.parametrize(
    ("rule", "content", "message"),
    [
        pytest.param("esm", lines(*FULL, "AAA"), "`AAA` occurs more than once", id="twice"),
        pytest.param("esm", lines(*FULL[:-1], "AC"), "other than 3-mers", id="other lengths"),
        pytest.param("esm", lines(*FULL[:20], *FULL[21:]), "is missing", id="a k-mer less"),
        pytest.param("esm", lines(*FULL[1:]), "special token `<unk>` is missing", id="no role"),
        pytest.param("esm", lines(*FULL[:9], "", *FULL[9:]), "is empty", id="an empty line"),
        pytest.param("esm", "", "1 to 1,048,576 are possible", id="an empty file"),
        pytest.param("esm", lines(*FULL, *map(str, range(1 << 20))), "possible", id="too many"),
        pytest.param("esm", lines(*FULL, "x" * 5000), "more than 4,096", id="too long"),
        pytest.param("esm", lines("A" * 9, *FULL), "k-mers of 9 bases", id="long k-mers"),
        pytest.param("esm", "\ud800", "utf-8", id="not text"),
        pytest.param("dnabert", lines(*BERT, *kmers(3)[1:]), "63 of 64 3-mers", id="incomplete"),
        pytest.param(
            "dnabert", lines(*BERT, *kmers(3), "A"), "other than 3-mers", id="single bases too"
        ),
        pytest.param("bert", lines(*BERT, "AC"), "1 of 16 2-mers", id="few k-mers of BERT"),
        pytest.param("dnabert", lines(*BERT), "k-mers of 0 bases", id="no k-mers"),
        pytest.param("dnabert", lines(*kmers(3)), "`[PAD]` is missing", id="no special tokens"),
        pytest.param("lca", lines(*BERT, *kmers(3)), "no whole number `shift`", id="no shift"),
        pytest.param(
            "generator",
            lines(*(f"{t} {n}" for n, t in enumerate([*GENERATOR, *kmers(3)], 1))),
            "its ids are not 0, 1, 2",
            id="other ids",
        ),
        pytest.param(
            "generator", lines("<oov> 0", *GENERATOR[1:]), "its ids are not", id="a single id"
        ),
        pytest.param("generator", lines(*kmers(3)), "`<pad>` is missing", id="no padding"),
    ],
)
def test_a_bad_vocabulary_is_refused_by_name(
    tmp_path: Path, rule: str, content: str, message: str
) -> None:
    (tmp_path / "vocab.txt").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(CheckpointError) as failure:
        read_published_tokenizer(tmp_path, rule)
    assert message in failure.value.message
    assert "vocab.txt" in failure.value.message
    assert failure.value.hint


@pytest.mark.parametrize("rule", ["esm", "dnabert", "lca", "generator", "tokenizer.json"])
def test_a_missing_file_is_named(tmp_path: Path, rule: str) -> None:
    with pytest.raises(CheckpointError, match=r"vocab\.txt|tokenizer\.json"):
        read_published_tokenizer(tmp_path, rule)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer_config.json", "{", "tokenizer_config.json"),
        ("tokenizer_config.json", '{"pad_token": 3}', "invalid `pad_token`"),
        ("special_tokens_map.json", '{"cls_token": {"content": []}}', "invalid `cls_token`"),
        ("special_tokens_map.json", '{"cls_token": null}', "no `cls_token`"),
        ("tokenizer_config.json", '{"unk_token": "[unknown]"}', "`[unknown]` is missing"),
    ],
)
def test_bad_roles_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    write_vocabulary(tmp_path, [*BERT, *kmers(3)])
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError) as failure:
        read_published_tokenizer(tmp_path, "dnabert")
    assert message in failure.value.message


@pytest.mark.parametrize(
    ("rule", "rows"), [("esm", 72), ("carbon", 20_000), ("characters", 11), ("tokenizer.json", 99)]
)
def test_an_id_beyond_the_embedding_is_refused(tmp_path: Path, rule: str, rows: int) -> None:
    if rule == "tokenizer.json":
        write_json(tmp_path, bert_pairs())
    else:
        write_vocabulary(tmp_path, esm_tokens(3))
    with pytest.raises(CheckpointError, match="the model has embeddings of"):
        read_published_tokenizer(tmp_path, rule, num_rows=rows)


@pytest.mark.parametrize("config", [{"k": 9}, {"k": True}, {"dna_start_id": 0}, {"k": "6"}])
def test_bad_numbers_of_carbon_are_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="dna_config"):
        read_published_tokenizer(write_carbon(tmp_path, **config), "carbon")


def test_roles_that_a_vocabulary_lacks_are_left_out(tmp_path: Path) -> None:
    roles = {"pad_token": "[EOS]", "mask_token": "[HIDE]", "unk_token": "[UNK]"}
    write_json(tmp_path, bert_pairs(), **roles)
    tokenizer = read_published_tokenizer(tmp_path, "tokenizer.json", num_rows=500)
    assert tokenizer.mask_id is None
    assert tokenizer.tokens[tokenizer.pad_id] == "[UNK]"
    write_json(tmp_path, bert_pairs(), **roles)
    given = read_published_tokenizer(tmp_path, "tokenizer.json", pad="[PAD]")
    assert given.tokens[given.pad_id] == "[PAD]"


def test_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    write_json(tmp_path, bert_pairs(), add_bos_token=True, bos_token="[MASK]")  # noqa: S106
    with pytest.raises(CheckpointError, match="contradicts `add_bos_token`"):
        read_published_tokenizer(tmp_path, "tokenizer.json")
    given = read_published_tokenizer(tmp_path, "tokenizer.json", prefix=("[MASK]",), suffix=())
    assert (given.prefix_ids, given.suffix_ids) == ((4,), ())
    document = json.loads((tmp_path / "tokenizer_config.json").read_text())
    document["add_bos_token"] = False
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(document))
    read = read_published_tokenizer(tmp_path, "tokenizer.json")
    assert (read.prefix_ids, read.suffix_ids) == ((1,), (2,))
