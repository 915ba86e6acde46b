"""Published sizes of the models that `foreign.py` measures, and their tokenizers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

RECORDED = Path(__file__).parents[1] / "tests" / "data" / "architectures"
SEED = 0
BASES = "ACGT"
Writer = Callable[[Path], int]


def write_lines(folder: Path, tokens: list[str]) -> int:
    """Write `vocab.txt`, and return the number of tokens."""
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    (folder / "tokenizer_config.json").write_text("{}")
    return len(tokens)


def kmers(k: int, order: str) -> list[str]:
    """Return all k-mers in the order of the letters."""
    tokens = [""]
    for _ in range(k):
        tokens = [token + letter for token in tokens for letter in order]
    return tokens


BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def overlapping(folder: Path) -> int:
    """Write the 6-mers of DNABERT."""
    return write_lines(folder, [*BERT, *kmers(6, "ATCG")])


def lca(folder: Path) -> int:
    """Write the 6-mers of ProkBERT."""
    return write_lines(folder, [*BERT, *kmers(6, "ACGT")])


def esm(*last: str) -> Writer:
    """Return the writer of the 6-mers of Nucleotide Transformer, with further tokens at the end."""
    tokens = ["<unk>", "<pad>", "<mask>", "<cls>", *kmers(6, "ATCG"), *"ATCGN", *last]
    return lambda folder: write_lines(folder, tokens)


def byte_pairs(size: int) -> Writer:
    """Byte pairs that are trained on random bases, a vocabulary of the published size."""

    def write(folder: Path) -> int:
        from tokenizers import Tokenizer as Trained
        from tokenizers import models, pre_tokenizers, processors, trainers

        trained = Trained(models.BPE(unk_token="[UNK]"))  # noqa: S106 - a token of text
        trained.pre_tokenizer = pre_tokenizers.Whitespace()
        special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=special, show_progress=False, max_token_length=12
        )
        rng = np.random.default_rng(SEED)
        rows = ("".join(rng.choice(list(BASES), 2_000)) for _ in range(max(400, size // 8)))
        trained.train_from_iterator(rows, trainer)
        trained.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
        trained.save(str(folder / "tokenizer.json"))
        roles = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
        (folder / "tokenizer_config.json").write_text(json.dumps(roles))
        return size

    return write


def recorded_files(name: str) -> Writer:
    """Return the writer of a recorded tokenizer, which has the published tokens."""

    def write(folder: Path) -> int:
        for file in RECORDED.joinpath(name).iterdir():
            if file.name.startswith("tokenizer"):
                (folder / file.name).write_bytes(file.read_bytes())
        return int(recorded(name)["vocab_size"])

    return write


def recorded(name: str) -> dict[str, Any]:
    """Return the configuration of a recorded tiny model."""
    document: dict[str, Any] = json.loads((RECORDED / name / "config.json").read_text())
    return document


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Published size of one model."""

    model: str  # Name on the Hub.
    tokenizer: Writer  # Writes the files of the tokenizer.
    document: dict[str, Any]  # `config.json`, but for the number of tokens.
    stock: str | None  # Class of `transformers` for the other side.
    stand_in: dict[str, Any] = field(default_factory=dict)  # Settings of that class.
    note: str = ""  # Difference of the class, if it is not the model's own.


def bert_sizes(width: int, depth: int, heads: int, mlp: int, longest: int) -> dict[str, Any]:
    """Return sizes under the names of BERT."""
    return {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": mlp,
        "max_position_embeddings": longest,
    }


def stock_document(kind: str, **settings: Any) -> dict[str, Any]:
    """Return the `config.json` of a stock class, without settings that are the defaults."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(**settings)
    heads = ("ForMaskedLM", "ForCausalLM", "LMHeadModel")
    name = next(kind + head for head in heads if hasattr(transformers, kind + head))
    return {**config.to_diff_dict(), "architectures": [name], "model_type": config.model_type}


BASE = bert_sizes(768, 12, 12, 3_072, 512)
GATED_BASE = bert_sizes(768, 12, 12, 4_608, 512)  # As many multiplications as a gated MLP of 3,072.
NT = {"token_dropout": True, "mask_token_id": 2, "pad_token_id": 1}
ROTARY = {"position_embedding_type": "rotary", "mask_token_id": 2, "pad_token_id": 1}


def nt_v2(depth: int, width: int, mlp: int) -> dict[str, Any]:
    """Return the sizes of a Nucleotide Transformer v2."""
    return bert_sizes(width, depth, 16, mlp, 2_050)


def shapes() -> dict[str, Shape]:
    """Return the models by family; those of more than 600 M parameters are left out."""
    nt_sizes = bert_sizes(1_280, 24, 20, 5_120, 1_002)
    small_nt, large_nt = nt_v2(12, 512, 2_048), nt_v2(29, 1_024, 4_096)
    modern = {
        **bert_sizes(768, 22, 12, 1_152, 8_192),
        **dict.fromkeys(("bos_token_id", "cls_token_id"), 1),
        **dict.fromkeys(("eos_token_id", "sep_token_id"), 2),
        "pad_token_id": 3,
    }
    mini = bert_sizes(384, 6, 6, 3_072, 1_024)
    gpt2 = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1_024}
    mamba = {"hidden_size": 768, "num_hidden_layers": 24, "state_size": 16}
    rotary_note = "rotary, plain MLP of as many multiplications"
    return {
        "dnabert": Shape(
            model="DNA_bert_6",
            tokenizer=overlapping,
            document=stock_document("Bert", **BASE),
            stock="Bert",
            stand_in=BASE,
        ),
        "dnabert2": Shape(
            model="DNABERT-2-117M",
            tokenizer=byte_pairs(4_096),
            document={**recorded("dnabert2"), **BASE, "alibi_starting_size": 512},
            stock="Bert",
            stand_in=GATED_BASE | {"max_position_embeddings": 2_048},
            note="no ALiBi, plain MLP of as many multiplications",
        ),
        "gena-lm": Shape(
            model="gena-lm-bert-base",
            tokenizer=byte_pairs(32_000),
            document={**recorded("gena-lm"), **BASE},
            stock="Bert",
            stand_in=BASE,
            note="norms after the layers",
        ),
        "nucleotide-transformer": Shape(
            model="nucleotide-transformer-500m",
            tokenizer=esm(),
            document=stock_document("Esm", **nt_sizes, **NT),
            stock="Esm",
            stand_in={**nt_sizes, **NT},
        ),
        "nucleotide-transformer-v2-50m": Shape(
            model="nucleotide-transformer-v2-50m",
            tokenizer=esm("<eos>", "<bos>"),
            document={**recorded("nucleotide-transformer-v2"), **small_nt},
            stock="Esm",
            stand_in={**small_nt, **ROTARY, "intermediate_size": 3_072},
            note=rotary_note,
        ),
        "nucleotide-transformer-v2-500m": Shape(
            model="nucleotide-transformer-v2-500m",
            tokenizer=esm("<eos>", "<bos>"),
            document={**recorded("nucleotide-transformer-v2"), **large_nt},
            stock="Esm",
            stand_in={**large_nt, **ROTARY, "intermediate_size": 6_144},
            note=rotary_note,
        ),
        "prokbert": Shape(
            model="prokbert-mini",
            tokenizer=lca,
            document={**recorded("prokbert"), **mini},
            stock="MegatronBert",
            stand_in=mini,
            note="no relative keys",
        ),
        "modernbert": Shape(
            model="moderngena-base",
            tokenizer=byte_pairs(32_000),
            document=stock_document("ModernBert", **modern),
            stock="ModernBert",
            stand_in=modern,
        ),
        "gpt2": Shape(
            model="plant-dnagpt-BPE",
            tokenizer=byte_pairs(8_000),
            document=stock_document("GPT2", **gpt2),
            stock="GPT2",
            stand_in=gpt2,
        ),
        "mamba": Shape(
            model="plant-dnamamba-BPE",
            tokenizer=byte_pairs(8_000),
            document=stock_document("Mamba", **mamba),
            stock="Mamba",
            stand_in=mamba,
        ),
        "hyenadna": Shape(
            model="hyenadna-small-32k-seqlen-hf",
            tokenizer=recorded_files("hyenadna"),
            document=recorded("hyenadna")
            | {"d_model": 256, "d_inner": 1_024, "n_layer": 4, "filter_order": 64}
            | {"max_seq_len": 32_770},
            stock=None,
        ),
        "caduceus": Shape(
            model="caduceus-ps_seqlen-131k_d_model-256_n_layer-16",
            tokenizer=recorded_files("caduceus/ps"),
            document=recorded("caduceus/ps")
            | {"d_model": 256, "n_layer": 16, "model_max_length": 131_072}
            | {"ssm_cfg": recorded("caduceus/ps")["ssm_cfg"] | {"d_state": 16, "dt_rank": "auto"}},
            stock=None,
        ),
        "gpn": Shape(
            model="gpn-brassicales",
            tokenizer=recorded_files("gpn"),
            document=recorded("gpn")
            | {"hidden_size": 512, "num_hidden_layers": 25, "intermediate_size": 2_048}
            | {"dilation_cycle": 8, "dilation_double_every": 1, "depthwise": False},
            stock=None,
        ),
    }
