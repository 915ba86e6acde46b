"""Causal Mamba models in the layout of `transformers`: plant-dnamamba.

Features of a layer are those that `MambaModel` returns as hidden states, but for one place: there
the first entry is the output of the first block, here layer 0 is the embedding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from genomeformer_cli.core.models.families.protocol import (
    LONGEST_ROW,
    ConfigReader,
    Document,
    Family,
    TensorReader,
    check_auto_map,
)
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.models.mamba import MambaConfig
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.tokenizers.published.reading import read_published_tokenizer

NAME = "mamba"
# Window of training of the published models, where their tokenizer names none.
_CONTEXT = 512
# Implemented values of settings; the first one is meant where a key is missing.
_IMPLEMENTED: dict[str, tuple[Any, ...]] = {
    "architectures": (["MambaForCausalLM"], ["MambaModel"]),
    "hidden_act": ("silu",),
    "rms_norm": (True,),
    "ssm_cfg": ({}, None),
}
# Settings of fresh weights, of training, of kernels, and sizes that are given twice.
_IGNORED = (
    "time_step_scale",
    "time_step_min",
    "time_step_max",
    "time_step_init_scheme",
    "time_step_floor",
    "rescale_prenorm_residual",
    "residual_in_fp32",
    "use_mambapy",
    "use_associative_scan",
    "use_mamba_kernels",
    "pad_vocab_size_multiple",
    "fused_add_norm",
    "layer_types",
)


def recognise(document: Document) -> bool:
    """Return True for the causal language model of `transformers`."""
    return document.get("model_type") == "mamba"


def read_config(document: Document, frame: Frame) -> MambaConfig:
    """Read `config.json`.

    Raises:
        ConfigError: A setting is unknown or not implemented.
    """
    check_auto_map(document, (), NAME)
    reader = ConfigReader(document, NAME)
    for key, allowed in _IMPLEMENTED.items():
        reader.require(key, *allowed)
    reader.ignore(_IGNORED)
    width, depth = reader.take("hidden_size", int), reader.count("num_hidden_layers")
    inner = int(reader.take("expand", int, 2) * width)
    # Sizes that are also given under their older names.
    reader.require("d_model", width)
    reader.require("n_layer", depth)
    reader.require("d_inner", inner)
    reader.require("intermediate_size", inner)
    config = MambaConfig(
        vocabulary_size=reader.take("vocab_size", int),
        context=max(reader.take(LONGEST_ROW, int, _CONTEXT + frame.size) - frame.size, 1),
        width=width,
        depth=depth,
        inner_width=inner,
        state_size=reader.take("state_size", int, 16),
        conv_width=reader.take("conv_kernel", int, 4),
        step_rank=read_rank(reader, "time_step_rank", width),
        conv_bias=reader.take("use_conv_bias", bool, default=True),
        norm_epsilon=reader.take("layer_norm_epsilon", float, 1e-5),
        bias=reader.take("use_bias", bool, default=False),
        tied=reader.take("tie_word_embeddings", bool, default=True),
        frame=frame,
    )
    reader.finish()
    return config


def read_rank(reader: ConfigReader, key: str, width: int) -> int:
    """Return the rank of the step sizes; `auto` is a sixteenth of the width."""
    rank = reader.take(key, object, "auto")
    return math.ceil(width / 16) if rank == "auto" else int(reader.take(key, int))


def convert(tensors: Mapping[str, Tensor], config: MambaConfig) -> dict[str, Tensor]:
    """Return the authors' tensors under the names of ours.

    Raises:
        CheckpointError: A tensor is missing or unknown.
    """
    reader = TensorReader(tensors, NAME)
    reader.drop_prefix("backbone.")
    # Older files of the reference code name the embedding in the singular.
    embedding = "embedding.weight" if "embedding.weight" in reader else "embeddings.weight"
    converted = reader.rename({embedding: "embedding.weight", "norm_f.weight": "norm.weight"})
    if config.tied:
        reader.ignore(r"lm_head\.weight")
    else:
        converted["head.weight"] = reader.take("lm_head.weight")
    for block in range(config.depth):
        source, mixer = f"layers.{block}.", f"blocks.{block}.mixer."
        converted[f"blocks.{block}.norm.weight"] = reader.take(f"{source}norm.weight")
        for name, new in (("in_proj", "into"), ("out_proj", "out")):
            for kind in ("weight", "bias") if config.bias else ("weight",):
                converted[f"{mixer}{new}.{kind}"] = reader.take(f"{source}mixer.{name}.{kind}")
        converted |= read_direction(
            reader, f"{source}mixer.", f"{mixer}ahead.", conv_bias=config.conv_bias
        )
    reader.finish()
    return converted


def read_direction(
    reader: TensorReader, source: str, target: str, *, conv_bias: bool
) -> dict[str, Tensor]:
    """Return the tensors of the recurrence of one direction under the names of ours.

    Args:
        reader: Tensors under the authors' names.
        source: Prefix of the authors' names.
        target: Prefix of our names.
        conv_bias: The convolution has a bias.

    Raises:
        CheckpointError: A tensor is missing.
    """
    names = {
        f"{source}x_proj.weight": f"{target}selection.weight",
        f"{source}dt_proj.weight": f"{target}step_size.weight",
        f"{source}dt_proj.bias": f"{target}step_size.bias",
        f"{source}A_log": f"{target}log_rate",
        f"{source}D": f"{target}skip",
    }
    if conv_bias:
        names[f"{source}conv1d.bias"] = f"{target}kernel_bias"
    tensors = reader.rename(names)
    # Theirs is (channels, 1, kernel).
    tensors[f"{target}kernel"] = reader.take(f"{source}conv1d.weight").squeeze(1).mT.contiguous()
    return tensors


def _read_tokenizer(folder: Path, document: Document) -> Tokenizer:
    return read_published_tokenizer(
        folder, "tokenizer.json", num_rows=ConfigReader(document, NAME).take("vocab_size", int)
    )


FAMILY = Family(
    name=NAME,
    recognise=recognise,
    read_config=read_config,
    convert=convert,
    read_tokenizer=_read_tokenizer,
    has_spare_rows=True,
)
