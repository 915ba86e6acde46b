"""Whole folders of other authors' models: configuration, random weights and tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.published_models import DATA, randomise
from tests.published_tokenizers import LAYOUTS

Writer = Callable[[Path], None]
_RECORDED_ROWS = 40
REMOTE_KMERS = {"auto_map": {"AutoTokenizer": ["tokenizer.DNAKmerTokenizer", None]}}


def _num_rows(folder: Path, layout: str) -> int:
    """Write the files of a tokenizer, and return the rows that an embedding needs."""
    rule, write, settings = LAYOUTS[layout]
    write(folder)
    from genomeformer_cli.core.tokenizers.published.reading import read_published_tokenizer

    return len(read_published_tokenizer(folder, rule, **settings).tokens)


def stock(kind: str, layout: str, **settings: Any) -> Writer:
    """Return a writer of a model of `transformers` with random weights."""

    def write(folder: Path) -> None:
        import transformers

        num_rows = _num_rows(folder, layout)
        config = getattr(transformers, f"{kind}Config")(vocab_size=num_rows, **settings)
        heads = ("ForMaskedLM", "ForCausalLM", "LMHeadModel")
        names = [f"{kind}{head}" for head in heads if hasattr(transformers, f"{kind}{head}")]
        torch.manual_seed(0)
        model = getattr(transformers, names[0])(config).eval()
        randomise(model)
        model.save_pretrained(folder)
        if layout == "generator":
            path = folder / "tokenizer_config.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), **REMOTE_KMERS}))
        (folder / "generation_config.json").unlink(missing_ok=True)

    return write


def recorded(name: str, layout: str, **changes: Any) -> Writer:
    """Return a writer of a recorded model whose embedding has the rows of a tokenizer."""

    def write(folder: Path) -> None:
        num_rows = _num_rows(folder, layout)
        document = json.loads((DATA / name / "config.json").read_text())
        document |= {"vocab_size": num_rows, **changes}
        (folder / "config.json").write_text(json.dumps(document))
        tensors = load_file(DATA / name / "model.safetensors")
        resized = {key: _resized(key, tensor, num_rows) for key, tensor in tensors.items()}
        save_file(resized, folder / "model.safetensors", metadata={"format": "pt"})

    return write


def _resized(name: str, tensor: Tensor, num_rows: int) -> Tensor:
    is_of_tokens = any(part in name for part in ("word_embeddings", "predictions", "lm_head"))
    if not is_of_tokens or tensor.shape[0] != _RECORDED_ROWS:
        return tensor.contiguous()
    generator = torch.Generator().manual_seed(num_rows)
    return torch.randn(num_rows, *tensor.shape[1:], generator=generator) * 0.2


def as_recorded(name: str) -> Writer:
    """Return a writer of a recorded folder that is complete."""

    def write(folder: Path) -> None:
        for file in (DATA / name).iterdir():
            if file.name not in ("README.md", "expected.safetensors"):
                shutil.copyfile(file, folder / file.name)

    return write


SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 32,
    "max_position_embeddings": 66,
}
GROUPED: dict[str, Any] = {**SIZES, "num_key_value_heads": 1, "head_dim": 8}
FOLDERS: dict[str, Writer] = {
    "dnabert": stock("Bert", "dnabert, 3-mers", **SIZES),
    "bert of byte pairs": stock("Bert", "byte pairs, bert", **SIZES),
    "nucleotide-transformer": stock(
        "Esm", "esm, 6-mers", **SIZES, token_dropout=True, mask_token_id=2, pad_token_id=1
    ),
    "modernbert": stock(
        "ModernBert",
        "byte pairs, bert",
        **SIZES,
        local_attention=16,
        pad_token_id=3,
        **dict.fromkeys(("bos_token_id", "cls_token_id"), 1),
        **dict.fromkeys(("eos_token_id", "sep_token_id"), 2),
    ),
    "llama of characters": stock("Llama", "characters, json", **GROUPED),
    "llama of k-mers": stock("Llama", "generator", **GROUPED),
    "mistral": stock("Mistral", "byte pairs, bytes", **GROUPED, sliding_window=16),
    "mixtral": stock("Mixtral", "byte pairs, bytes", **GROUPED, num_local_experts=3),
    "qwen3": stock("Qwen3", "characters, json", **GROUPED),
    "gpt2": stock(
        "GPT2", "byte pairs, bytes", n_embd=24, n_layer=2, n_head=3, n_positions=66, n_inner=32
    ),
    "mamba": stock("Mamba", "byte pairs, bytes", hidden_size=16, num_hidden_layers=2, state_size=4),
    "dnabert2": recorded("dnabert2", "byte pairs, bert"),
    "gena-lm": recorded("gena-lm", "byte pairs, bert"),
    "nucleotide-transformer-v2": recorded("nucleotide-transformer-v2", "esm, eos"),
    "prokbert": recorded("prokbert", "lca, 6-mers", kmer=6, shift=1),
    "caduceus-ph": as_recorded("caduceus/ph"),
    "caduceus-ps": as_recorded("caduceus/ps"),
    "plantcaduceus": as_recorded("caduceus/plant"),
    "hyenadna": as_recorded("hyenadna"),
    "gpn": as_recorded("gpn"),
    "gpn-bytenet": as_recorded("gpn-bytenet"),
}


def write_published(name: str, folder: Path) -> Path:
    """Write the folder of a model, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    FOLDERS[name](folder)
    return folder


def pickle_weights(folder: Path) -> None:
    """Replace the safetensors of a folder by a pickled file."""
    path = folder / "pytorch_model.bin"
    torch.save(load_file(folder / "model.safetensors"), path)  # noqa: TID251 - as published
    (folder / "model.safetensors").unlink()
