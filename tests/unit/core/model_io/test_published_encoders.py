"""Encoders in folders of their authors: files that fit are a model, others are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.model_io.model_folder import read_model, read_model_config
from genomeformer_cli.core.models.encoder import EncoderConfig
from genomeformer_cli.core.models.registry import build_model
from genomeformer_cli.core.sequence import encode_bases
from tests.published_models import ENCODERS, find_encoder, read_recorded
from tests.published_tokenizers import (
    BERT,
    BERT_ROLES,
    bert_pairs,
    esm_tokens,
    kmers,
    write_json,
    write_vocabulary,
)

ROWS = ("_embeddings.weight", "decoder.weight", "decoder.bias", "predictions.bias", "lm_head.bias")
# Recorded model, and a writer of the tokenizer files of its family.
FOLDERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "dnabert2": ("dnabert2", lambda d: write_json(d, bert_pairs(), **BERT_ROLES)),
    "gena-lm": ("gena-lm", lambda d: write_json(d, bert_pairs(), **BERT_ROLES)),
    "nucleotide-transformer": (
        "nucleotide-transformer",
        lambda d: write_vocabulary(d, esm_tokens(3), eos_token=None),
    ),
    "nucleotide-transformer-v2": (
        "nucleotide-transformer-v2",
        lambda d: write_vocabulary(d, esm_tokens(3, "<eos>", "<bos>"), eos_token=None),
    ),
    "prokbert": ("prokbert", lambda d: write_vocabulary(d, [*BERT, *kmers(6, "ACGT")])),
    "prokbert, 1-mers": (
        "prokbert-megatron",
        lambda d: write_vocabulary(d, [*BERT, *"ACGT"], kmer=1, shift=1),
    ),
}


def with_rows(tensors: dict[str, Tensor], rows: int) -> dict[str, Tensor]:
    """Return tensors with another number of token ids."""
    chosen = torch.arange(rows) % 40
    names = {
        name
        for name in tensors
        if name.endswith(ROWS) and "position" not in name and "token_type" not in name
    }
    names -= {name for name in tensors if name.endswith("distance_embedding.weight")}
    return {
        name: (item[chosen] if name in names else item).contiguous()
        for name, item in tensors.items()
    }


def publish(folder: Path, name: str, *, spare: int = 0, head: bool = True) -> dict[str, Any]:
    """Write a tiny model in the layout of its authors, and return its configuration."""
    recorded, write_tokenizer = FOLDERS[name]
    document, tensors = read_recorded(recorded)
    folder.mkdir(exist_ok=True)
    write_tokenizer(folder)
    if (folder / "vocab.txt").exists():
        rows = len((folder / "vocab.txt").read_text().split())
    else:
        rows = len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
    document["vocab_size"] = rows + spare
    if not head:
        tensors = {
            key: item for key, item in tensors.items() if not key.startswith(("cls.", "lm_head."))
        }
    save_file(with_rows(tensors, rows + spare), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(document))
    return document


@pytest.mark.parametrize("name", FOLDERS)
@torch.no_grad()
def test_a_folder_of_the_authors_is_a_model(name: str, tmp_path: Path) -> None:
    publish(tmp_path, name)
    loaded = read_model(tmp_path)
    model, tokenizer = loaded.model, loaded.tokenizer
    config = model.config
    assert isinstance(config, EncoderConfig)
    assert config == read_model_config(tmp_path)
    assert (config.frame.prefix, config.frame.suffix) == (
        tokenizer.prefix_ids,
        tokenizer.suffix_ids,
    )
    ids = torch.from_numpy(tokenizer.encode(encode_bases("acgtTGCANNACGTTGCATTGACCA")).astype(int))
    assert 5 < len(ids) <= config.context
    logits_1LV = model(ids[None], None)
    assert logits_1LV.shape == (1, len(ids), config.vocabulary_size)
    assert bool(logits_1LV.isfinite().all())


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    publish(tmp_path, "dnabert2", spare=3)
    with pytest.raises(CheckpointError, match=r"the embedding .* rows"):
        read_model(tmp_path)


def test_prokbert_has_spare_rows_in_its_embedding(tmp_path: Path) -> None:
    document = publish(tmp_path, "prokbert", spare=99)
    assert read_model(tmp_path).model.config.vocabulary_size == document["vocab_size"]


@pytest.mark.parametrize("name", ["dnabert2", "nucleotide-transformer-v2"])
def test_a_model_without_a_head_embeds_and_predicts_no_tokens(name: str, tmp_path: Path) -> None:
    publish(tmp_path, name, head=False)
    model = read_model(tmp_path).model
    assert build_model(read_model_config(tmp_path)).state_dict().keys() == model.state_dict().keys()
    tokens_1L = torch.full((1, 4), 9)
    with torch.no_grad():
        features = model.hidden(tokens_1L, None)
    assert features.shape == (1, 4, model.feature_width)
    with pytest.raises(ConfigError, match="without a head"):
        model.logits(features)


@pytest.mark.parametrize("name", FOLDERS)
def test_features_are_those_of_the_recorded_weights(name: str, tmp_path: Path) -> None:
    document = publish(tmp_path, name)
    loaded = read_model(tmp_path)
    layout = ENCODERS[find_encoder(document)]
    recorded = read_recorded(FOLDERS[name][0])[1]
    converted = layout.convert(with_rows(recorded, document["vocab_size"]), loaded.model.config)
    for key, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, converted[key]), key
