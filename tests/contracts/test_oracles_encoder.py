"""Encoders against the stock classes of `transformers`: all hidden states and the logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.sequence import encode_bases
from tests.published_models import (
    ENCODERS,
    LENGTHS,
    Numbers,
    assert_equal_numbers,
    draw_rows,
    find_encoder,
    our_model,
    randomise,
)
from tests.published_tokenizers import BERT as BERT_TOKENS
from tests.published_tokenizers import (
    BERT_ROLES,
    bert_pairs,
    esm_tokens,
    kmers,
    write_json,
    write_vocabulary,
)

transformers = pytest.importorskip("transformers")
MASK_ID = 4
FRAMES = {
    "bert": Frame(pad_id=0, prefix=(2,), suffix=(3,)),
    "esm": Frame(pad_id=1, prefix=(3,)),
    "modernbert": Frame(pad_id=3, prefix=(1,), suffix=(2,)),
}
SMALL = {
    "vocab_size": 40,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "attn_implementation": "eager",
}
BERT = {"max_position_embeddings": 140, "layer_norm_eps": 1e-12, "pad_token_id": 0}
ESM = {"max_position_embeddings": 140, "mask_token_id": MASK_ID, "pad_token_id": 1}
MODERN = {
    "max_position_embeddings": 140,
    "pad_token_id": 3,
    "local_attention": 16,
    "num_hidden_layers": 4,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", BERT),
    "bert-untied": ("Bert", {**BERT, "tie_word_embeddings": False, "hidden_act": "relu"}),
    "bert-eps": ("Bert", {**BERT, "layer_norm_eps": 0.3, "hidden_act": "gelu_new"}),
    "esm-token-dropout": ("Esm", {**ESM, "token_dropout": True, "tie_word_embeddings": False}),
    "esm-tied-norm-before": ("Esm", {**ESM, "emb_layer_norm_before": True}),
    "esm-rotary": ("Esm", {**ESM, "position_embedding_type": "rotary", "layer_norm_eps": 1e-5}),
    "modernbert": ("ModernBert", MODERN),
    "modernbert-biases": (
        "ModernBert",
        {
            **MODERN,
            "norm_bias": True,
            "attention_bias": True,
            "mlp_bias": True,
            "classifier_bias": True,
            "tie_word_embeddings": False,
            "norm_eps": 0.1,
        },
    ),
    "modernbert-all-local": (
        "ModernBert",
        {
            **MODERN,
            "decoder_bias": False,
            "layer_types": ["sliding_attention"] * 4,
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 500.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            },
        },
    ),
}


def build_published(
    kind: str, settings: dict[str, Any], folder: Path
) -> tuple[Any, dict[str, Any], dict[str, Tensor]]:
    """Return a stock model with random weights, and its files as published."""
    config = getattr(transformers, f"{kind}Config")(**{**SMALL, **settings})
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForMaskedLM")(config).eval()
    randomise(model)
    model.tie_weights()
    if kind == "Bert":  # of two biases, versions of the stock class use one or the other
        model.cls.predictions.bias.data.copy_(model.cls.predictions.decoder.bias)
    model.save_pretrained(folder)
    document = json.loads((folder / "config.json").read_text())
    return model, document, load_file(folder / "model.safetensors")


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_those_of_the_stock_class(name: str, tmp_path: Path) -> None:
    kind, settings = CASES[name]
    theirs, document, tensors = build_published(kind, settings, tmp_path)
    frame = FRAMES[kind.lower()]
    layout = ENCODERS[find_encoder(document)]
    model = our_model(layout.read_config(document, frame), layout.convert, tensors)

    def forward(tokens_BM: Tensor, mask_BM: Tensor) -> Numbers:
        out = theirs(tokens_BM, attention_mask=mask_BM.long(), output_hidden_states=True)
        return list(out.hidden_states), out.logits

    # Some tokens are masked, which matters to token dropout.
    rows_BL, mask_BL = draw_rows(LENGTHS, (*range(5, 40), *[MASK_ID] * 6), frame.pad_id)
    rows_BL[0, 0] = 5  # a row of masked tokens alone has no scale
    assert_equal_numbers(model, forward, rows_BL, mask_BL)


# Rows of the text that both sides read, with N, lower case, and lengths that leave a remainder.
SEQUENCES = ("ACGTTGCATGCATGACCA", "ACGNNTGACCATGTTA", "GATTACA" * 9, "acgttgca")


def write_words(folder: Path, kind: str) -> Any:
    """Write the tokenizer of a family, and return a function from bases to the authors' ids."""
    if kind == "Bert":
        write_vocabulary(folder, [*BERT_TOKENS, *kmers(3)])
        words = transformers.BertTokenizer(str(folder / "vocab.txt"), do_lower_case=False)
        return lambda bases: words(" ".join(bases[at : at + 3] for at in range(len(bases) - 2)))
    if kind == "Esm":
        write_vocabulary(folder, esm_tokens(3), eos_token=None)
        words = transformers.EsmTokenizer(str(folder / "vocab.txt"), eos_token=None)
        return words
    write_json(folder, bert_pairs(), **BERT_ROLES)
    return transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))


@pytest.mark.parametrize("kind", ["Bert", "Esm", "ModernBert"])
@torch.no_grad()
def test_bases_have_the_features_of_the_authors_tokenizer_and_stock_class(
    kind: str, tmp_path: Path
) -> None:
    words = write_words(tmp_path, kind)
    known: dict[str, dict[str, Any]] = {
        "Bert": BERT,
        "Esm": {**ESM, "mask_token_id": 2},
        "ModernBert": MODERN,
    }
    rows = len(read_published_rows(tmp_path))
    theirs, _, _ = build_published(kind, {**known[kind], "vocab_size": rows}, tmp_path)
    loaded = read_model(tmp_path)
    assert loaded.layers == "last"
    for sequence in SEQUENCES:
        ids = words(sequence.upper())["input_ids"]
        out = theirs(torch.tensor([ids]), output_hidden_states=True)
        tokens = loaded.tokenizer.encode(encode_bases(sequence))
        frame = (list(loaded.tokenizer.prefix_ids), list(loaded.tokenizer.suffix_ids))
        assert [*frame[0], *tokens.tolist(), *frame[1]] == ids
        features_LE = loaded.model.hidden(torch.from_numpy(tokens.astype(int))[None], None)[0]
        inner = slice(len(frame[0]), len(ids) - len(frame[1]))
        torch.testing.assert_close(
            features_LE, out.hidden_states[-1][0, inner], rtol=1e-5, atol=1e-5
        )


def read_published_rows(folder: Path) -> list[str]:
    """Return the tokens of a tokenizer in a folder."""
    if (folder / "vocab.txt").exists():
        return (folder / "vocab.txt").read_text().split()
    return list(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
