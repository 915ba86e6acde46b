"""Folders of other authors' tokenizers in their layouts, with vocabularies made here."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as HuggingFaceTokenizer

from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.tokenizers.published.reading import read_published_tokenizer

BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
UNKNOWN: dict[str, Any] = {"unk_token": "[UNK]"}
PIECE_UNKNOWN: dict[str, Any] = {"unk_token": "<unk>"}
GENERATOR = ("<oov>", "<s>", "</s>", "<pad>", "<mask>", "<bog>", "<eog>")


def kmers(k: int, order: str = "ATCG") -> list[str]:
    return ["".join(letters) for letters in product(order, repeat=k)]


def write_vocabulary(folder: Path, tokens: list[str], **config: Any) -> Path:
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def write_json(folder: Path, tokenizer: HuggingFaceTokenizer, **config: Any) -> Path:
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def write_carbon(folder: Path, **config: Any) -> Path:
    (folder / "dna_config.json").write_text(json.dumps(config))
    return folder


def esm_tokens(k: int, *end: str) -> list[str]:
    return ["<unk>", "<pad>", "<mask>", "<cls>", *kmers(k), *"ATCGN", *end]


@lru_cache
def training_text() -> list[str]:
    """Random bases with repeats and a few N, so that merges of all lengths are learned."""
    generator = np.random.default_rng(5)
    words = ["".join(generator.choice(list("ACGT"), 40)) for _ in range(30)]
    rows = ["".join(generator.choice(words, 20)) for _ in range(20)]
    return [*rows, "ACGTTGCA" * 60, "A" * 300, "NACNGTN" * 5]


def bert_pairs(size: int = 500) -> HuggingFaceTokenizer:
    """Byte pairs in the form of DNABERT-2."""
    tokenizer = HuggingFaceTokenizer(models.BPE(**UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    without_n = [text.replace("N", "") for text in training_text()]
    tokenizer.train_from_iterator(without_n, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


def gap_pairs(size: int = 600) -> HuggingFaceTokenizer:
    """Byte pairs in the form of GENA-LM: a run of ten or more N is one token."""
    tokenizer = HuggingFaceTokenizer(models.BPE(**UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Strip(), normalizers.Replace(Regex("N{10,}"), "-")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("-", "isolated")
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "-"]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(training_text(), trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tokenizer


def byte_pairs(size: int = 700) -> HuggingFaceTokenizer:
    """Byte-level pairs of a causal model."""
    tokenizer = HuggingFaceTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_text(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return tokenizer


def pieces(size: int = 300) -> HuggingFaceTokenizer:
    """Unigram pieces, with a mark at the start of a word."""
    tokenizer = HuggingFaceTokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size,
        special_tokens=["<unk>", "<pad>", "<s>"],
        show_progress=False,
        **PIECE_UNKNOWN,
    )
    texts = [text[start : start + 400] for text in training_text() for start in (0, 300)]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def wordpiece(limit: int) -> HuggingFaceTokenizer:
    """Pieces of a word of at most `limit` letters."""
    tokens = ["[UNK]", "[PAD]", *"ACGT", *(f"##{base}" for base in "ACGT"), "##CG"]
    model = models.WordPiece(
        {token: number for number, token in enumerate(tokens)},
        max_input_chars_per_word=limit,
        **UNKNOWN,
    )
    tokenizer = HuggingFaceTokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def characters(letters: str, *, lower: bool = False) -> HuggingFaceTokenizer:
    """Return a WordLevel tokenizer of single characters with one token before each sequence."""
    names = ["[PAD]", "[MASK]", "[UNK]", "[BOS]", *letters]
    model = models.WordLevel({name: n for n, name in enumerate(names)}, **UNKNOWN)
    tokenizer = HuggingFaceTokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.add_special_tokens(names[:4])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[BOS] $A", special_tokens=[("[BOS]", 3)]
    )
    return tokenizer


BYTE_ROLES = {"bos_token": "<s>", "eos_token": "</s>"}
PIECE_ROLES = {"pad_token": "<pad>", "unk_token": "<unk>"}
BERT_ROLES = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "mask_token": {"__type": "AddedToken", "content": "[MASK]", "lstrip": True},
}
Layout = Callable[[Path], Path]
# Rule, writer of the authors' files, settings of the family.
LAYOUTS: dict[str, tuple[str, Layout, dict[str, Any]]] = {
    "esm, 6-mers": ("esm", lambda d: write_vocabulary(d, esm_tokens(6)), {}),
    "esm, eos": (
        "esm",
        lambda d: write_vocabulary(d, esm_tokens(3, "<eos>", "<bos>")),
        {},
    ),
    "dnabert, 3-mers": ("dnabert", lambda d: write_vocabulary(d, [*BERT, *kmers(3)]), {}),
    "dnabert, 6-mers": ("dnabert", lambda d: write_vocabulary(d, [*BERT, *kmers(6)]), {}),
    "lca, 6-mers": (
        "lca",
        lambda d: write_vocabulary(d, [*BERT, *kmers(6, "ACGT")], kmer=6, shift=1),
        {},
    ),
    "lca, 6-mers, shift 2": (
        "lca",
        lambda d: write_vocabulary(d, [*BERT, *kmers(6, "ACGT")]),
        {"shift": 2},
    ),
    "lca, 1-mers": ("lca", lambda d: write_vocabulary(d, [*BERT, *"ACGT"]), {"shift": 1}),
    "generator": ("generator", lambda d: write_vocabulary(d, [*GENERATOR, *kmers(6)], k=6), {}),
    "carbon": ("carbon", lambda d: write_carbon(d, k=3, dna_start_id=40), {}),
    "characters": ("characters", lambda d: d, {}),
    "byte pairs, bert": (
        "tokenizer.json",
        lambda d: write_json(d, bert_pairs(), **BERT_ROLES),
        {},
    ),
    "byte pairs, gaps": ("tokenizer.json", lambda d: write_json(d, gap_pairs(), **BERT_ROLES), {}),
    "byte pairs, bytes": (
        "tokenizer.json",
        lambda d: write_json(d, byte_pairs(), **BYTE_ROLES),
        {},
    ),
    "pieces": (
        "tokenizer.json",
        lambda d: write_json(d, pieces(), **PIECE_ROLES),
        {},
    ),
    "characters, json": (
        "tokenizer.json",
        lambda d: write_json(d, characters("TGCA"), **BERT_ROLES),
        {},
    ),
    "characters, lower case": (
        "tokenizer.json",
        lambda d: write_json(d, characters("acgt", lower=True), **BERT_ROLES),
        {},
    ),
}


def read(name: str, folder: Path) -> Tokenizer:
    """Write the files of a layout, and read its tokenizer."""
    rule, write, settings = LAYOUTS[name]
    folder.mkdir(parents=True, exist_ok=True)
    return read_published_tokenizer(write(folder), rule, **settings)
