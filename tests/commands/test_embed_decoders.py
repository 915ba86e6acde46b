"""`embed` with decoders of other authors: folders in their layout, vectors of the stock classes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.sequence import encode_bases
from tests.cli import RunCommand
from tests.failures import assert_failure
from tests.published_tokenizers import (
    BYTE_ROLES,
    GENERATOR,
    PIECE_ROLES,
    byte_pairs,
    characters,
    kmers,
    pieces,
    write_carbon,
    write_json,
    write_vocabulary,
)

transformers = pytest.importorskip("transformers")

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 128, "initializer_range": 0.2}
REMOTE = {"auto_map": {"AutoTokenizer": ["tokenizer.DNAKmerTokenizer", None]}}
CHARACTER_ROLES = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
PLANT_BASES = ["<unk>", "<pad>", "<mask>", "<cls>", *"ATCGN", "<eos>", "<bos>"]
HYBRID = {"tokenizer_class": "HybridDNATokenizer"}


def write_hybrid(folder: Path) -> Path:
    """Write the files of Carbon with 3-mers."""
    write_carbon(folder, k=3, dna_start_id=40)
    (folder / "tokenizer_config.json").write_text(json.dumps(HYBRID))
    return folder


# Stock class, settings, number of tokens, writer of the tokenizer.
MODELS: dict[str, tuple[str, dict[str, Any], int, Callable[[Path], Any]]] = {
    "GENERator": (
        "LlamaForCausalLM",
        SIZES,
        4_103,
        lambda d: write_vocabulary(d, [*GENERATOR, *kmers(6)], k=6, add_eos_token=False, **REMOTE),
    ),
    "Carbon": ("LlamaForCausalLM", SIZES, 128, write_hybrid),
    "METAGENE": (
        "LlamaForCausalLM",
        SIZES,
        700,
        lambda d: write_json(d, byte_pairs(), **BYTE_ROLES),
    ),
    "GenomeOcean": (
        "MistralForCausalLM",
        {**SIZES, "sliding_window": 20},
        700,
        lambda d: write_json(d, byte_pairs(), **BYTE_ROLES),
    ),
    "Mistral-DNA": (
        "MixtralForCausalLM",
        {**SIZES, "num_local_experts": 3},
        700,
        lambda d: write_json(d, byte_pairs(), **BYTE_ROLES),
    ),
    "MarinDNA": (
        "Qwen3ForCausalLM",
        {**SIZES, "head_dim": 4},
        8,
        lambda d: write_json(d, characters("ACGT"), **CHARACTER_ROLES),
    ),
    "plant-dnagemma": (
        "GemmaForCausalLM",
        {**SIZES, "head_dim": 4},
        163,
        lambda d: write_json(d, pieces(), **PIECE_ROLES),
    ),
    "plant-dnagemma, single bases": (
        "GemmaForCausalLM",
        {**SIZES, "head_dim": 4},
        11,
        lambda d: write_vocabulary(d, PLANT_BASES, tokenizer_class="EsmTokenizer", eos_token=None),
    ),
    "plant-dnagpt": (
        "GPT2LMHeadModel",
        GPT2,
        700,
        lambda d: write_json(d, byte_pairs(), **BYTE_ROLES),
    ),
}
ROWS = ("ACGTTGCATTACGGAACCTAACGTTGCATTACGGAACCTA", "ACGTTGCA" * 9, "acgtaccaag")


def write_model(name: str, folder: Path) -> Any:
    """Write a tiny random model in the authors' layout; return the stock model."""
    architecture, settings, num_tokens, write = MODELS[name]
    kind = getattr(transformers, architecture)
    torch.manual_seed(7)
    model = kind(kind.config_class(**settings, vocab_size=num_tokens)).eval()
    model.save_pretrained(folder)
    write(folder)
    return model


@pytest.fixture
def sequences(tmp_path: Path) -> str:
    path = tmp_path / "sequences.fa"
    path.write_text("".join(f">r{number}\n{row}\n" for number, row in enumerate(ROWS)))
    return str(path)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_vectors_are_means_of_the_stock_features(
    name: str, tmp_path: Path, sequences: str, run_cli: RunCommand, cache_home: Path
) -> None:
    folder = tmp_path / "model"
    stock = write_model(name, folder)
    done = run_cli("embed", sequences, "--model", str(folder))
    assert done.exit_code == 0, done.err
    vectors = np.load(io.BytesIO(done.stdout))
    tokenizer = read_model(folder).tokenizer
    for row, vector in zip(ROWS, vectors, strict=True):
        ids = tokenizer.encode(encode_bases(row)).astype(np.int64)
        framed = [*tokenizer.prefix_ids, *ids.tolist(), *tokenizer.suffix_ids]
        output = stock(input_ids=torch.tensor([framed]), output_hidden_states=True)
        start = len(tokenizer.prefix_ids)
        features_LE = output.hidden_states[-1][0, start : start + len(ids)]
        real_L = torch.from_numpy(tokenizer.is_real[ids])
        np.testing.assert_allclose(vector, features_LE[real_L].mean(dim=0), atol=1e-5)


@pytest.mark.parametrize("name", ["METAGENE", "MarinDNA", "plant-dnagpt"])
def test_tokens_are_those_of_the_authors_tokenizer(name: str, tmp_path: Path) -> None:
    write_model(name, tmp_path)
    ours = read_model(tmp_path).tokenizer
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for row in ROWS[:2]:
        ids = [*ours.prefix_ids, *ours.encode(encode_bases(row)).tolist(), *ours.suffix_ids]
        assert ids == theirs.encode(row).ids


@pytest.mark.parametrize(
    ("auto_map", "code"),
    [
        ({"AutoTokenizer": ["tokenizer.OtherTokenizer", None]}, "OtherTokenizer"),
        ({"AutoTokenizer": [None, "own.FastTokenizer"]}, "FastTokenizer"),
        ({"AutoTokenizer": "own.Tokenizer"}, "own.Tokenizer"),
    ],
)
def test_a_tokenizer_of_unknown_code_is_refused(
    auto_map: dict[str, Any], code: str, tmp_path: Path, sequences: str, run_cli: RunCommand
) -> None:
    write_model("METAGENE", tmp_path)
    config = {**BYTE_ROLES, "auto_map": auto_map}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    done = run_cli("embed", sequences, "--model", str(tmp_path))
    assert_failure(done, code, hint="ported tokenizers")


def test_a_vocabulary_of_another_model_is_refused(
    tmp_path: Path, sequences: str, run_cli: RunCommand
) -> None:
    write_model("METAGENE", tmp_path)
    write_json(tmp_path, characters("ACGT"), **CHARACTER_ROLES)
    done = run_cli("embed", sequences, "--model", str(tmp_path))
    assert_failure(done, "8 tokens", "700 rows")
