"""Caduceus and PlantCaduceus, in the authors' layout (kuleshov-group/caduceus, commit 5c2fc72).

Features of a layer are those that the authors' code returns as hidden states: the output of the
block before the residual stream, and for the last layer the stream through the final norm. Models
of both strands (`rcps`) return 2 E features: the second half is that of the other strand with its
channels reversed. For vectors that do not depend on the strand, the authors average the first half
with the reversed second half, which `rows.rc` of `mean` does with both halves at once.

The authors train with `[SEP]` after each window and leave it out in everything downstream, where it
would also tell the strands apart. It is left out here: the numbers are those of their tokenizer
with `add_special_tokens=False`. Their code has no mask, and padding changes its features; ours are
those of rows without padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.models.caduceus import CaduceusConfig
from genomeformer_cli.core.models.families.mamba import read_direction, read_rank
from genomeformer_cli.core.models.families.protocol import (
    LONGEST_ROW,
    ConfigReader,
    Document,
    Family,
    TensorReader,
    check_auto_map,
)
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.tokenizers.files import TOKENIZER_FILE
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.tokenizers.published.reading import read_published_tokenizer

NAME = "caduceus"
CODE = frozenset(
    {
        "configuration_caduceus.CaduceusConfig",
        "modeling_caduceus.Caduceus",
        "modeling_caduceus.CaduceusForMaskedLM",
        "modeling_caduceus.CaduceusForSequenceClassification",
    }
)
VOCABULARY_MULTIPLE = 8
# Window of training of PlantCaduceus, whose tokenizer names none.
_CONTEXT = 512
# Implemented values of settings; the first one is meant where a key is missing.
_IMPLEMENTED = {
    "architectures": (["CaduceusForMaskedLM"], ["Caduceus"]),
    "bidirectional": (True,),
    "bidirectional_strategy": ("add", None),
    "bidirectional_weight_tie": (True,),
    "rms_norm": (True,),
    "tie_word_embeddings": (True,),
    "pad_vocab_size_multiple": (VOCABULARY_MULTIPLE,),
}
_IMPLEMENTED_IN_BLOCKS = {"bias": (False,), "layer": ("Mamba1",)}
# Settings of fresh weights and of kernels.
_IGNORED_OF_BLOCKS = ("dt_min", "dt_max", "dt_init", "dt_scale", "dt_init_floor", "use_fast_path")


def recognise(document: Document) -> bool:
    """Return True for Caduceus models."""
    return document.get("model_type") == "caduceus"


def read_config(document: Document, frame: Frame) -> CaduceusConfig:
    """Read `config.json`.

    Raises:
        ConfigError: A setting is unknown or not implemented, such as the Mamba-2 blocks of
            PlantCAD2.
    """
    check_auto_map(document, CODE, NAME)
    if "layer_cfg" in document:
        raise ConfigError(
            "`config.json`: `layer_cfg` describes Mamba-2 blocks (PlantCAD2), which are not ported",
            hint="PlantCaduceus and Caduceus models are",
        )
    reader = ConfigReader(document, NAME)
    for key, allowed in _IMPLEMENTED.items():
        reader.require(key, *allowed)
    reader.ignore(("initializer_cfg", "residual_in_fp32"))
    rows = reader.take("vocab_size", int)
    rows += -rows % VOCABULARY_MULTIPLE
    width, has_strands = reader.take("d_model", int), reader.take("rcps", bool, default=False)
    complement = _complement(reader.take("complement_map", dict, {}), rows) if has_strands else ()
    reader.ignore(("complement_map",))
    blocks = ConfigReader(reader.take("ssm_cfg", dict, {}), f"{NAME}` (`ssm_cfg`)")
    for key, allowed in _IMPLEMENTED_IN_BLOCKS.items():
        blocks.require(key, *allowed)
    blocks.ignore(_IGNORED_OF_BLOCKS)
    config = CaduceusConfig(
        vocabulary_size=rows,
        context=reader.take(LONGEST_ROW, int, _CONTEXT),
        width=width,
        depth=reader.count("n_layer"),
        inner_width=blocks.take("expand", int, 2) * width,
        state_size=blocks.take("d_state", int, 16),
        conv_width=blocks.take("d_conv", int, 4),
        step_rank=read_rank(blocks, "dt_rank", width),
        conv_bias=blocks.take("conv_bias", bool, default=True),
        norm_epsilon=reader.take("norm_epsilon", float, 1e-5),
        strands="both" if has_strands else "one",
        exchange=has_strands and reader.take("fused_add_norm", bool, default=True),
        complement=complement,
        frame=replace(frame, prefix=(), suffix=()),
    )
    reader.ignore(("fused_add_norm",))
    blocks.finish()
    reader.finish()
    return config


def _complement(complement_map: Mapping[str, Any], rows: int) -> tuple[int, ...]:
    """Return the id of the complement of every token; rows without a token are their own."""
    # The authors' code reads the values in the order of the file.
    is_ordered = [str(place) for place in range(len(complement_map))] == list(complement_map)
    is_complete = 0 <= rows - len(complement_map) < VOCABULARY_MULTIPLE
    if (
        not is_ordered
        or not is_complete
        or any(type(value) is not int for value in complement_map.values())
    ):
        raise ConfigError(
            f"`config.json`: invalid `complement_map` for `{NAME}`",
            hint="it maps all token ids 0, 1, 2, ... in this order to token ids",
        )
    return (*complement_map.values(), *range(len(complement_map), rows))


def convert(tensors: Mapping[str, Tensor], config: CaduceusConfig) -> dict[str, Tensor]:
    """Return the authors' tensors under the names of ours.

    Tensors that the authors' code shares may be stored under either name, or under both.

    Raises:
        CheckpointError: A tensor is missing, unknown, or not equal to the one that it is tied to.
    """
    reader = TensorReader(tensors, NAME)
    reader.drop_prefix("caduceus.")
    reader.drop_prefix("backbone.")
    has_strands = config.strands == "both"
    words, head = "embeddings.word_embeddings.", "lm_head."
    # The norms are wrapped where both strands are read and the norms are not fused.
    norm = "submodule." if has_strands and not config.exchange else ""
    if has_strands:
        for name in (f"{words}complement_map", f"{head}complement_map"):
            if name in reader:
                _check_complement(reader.take(name), config, name)
        words, head = f"{words}embedding.", f"{head}lm_head."
    converted = {
        "embedding.weight": _take_tied(reader, f"{words}weight", f"{head}weight"),
        "norm.weight": reader.take(f"norm_f.{norm}weight"),
    }
    for block in range(config.depth):
        source, target = f"layers.{block}.", f"blocks.{block}."
        mixer = f"{source}mixer.submodule." if has_strands else f"{source}mixer."
        converted[f"{target}norm.weight"] = reader.take(f"{source}norm.{norm}weight")
        for name, new in (("in_proj", "into"), ("out_proj", "out")):
            converted[f"{target}mixer.{new}.weight"] = _take_tied(
                reader, f"{mixer}mamba_fwd.{name}.weight", f"{mixer}mamba_rev.{name}.weight"
            )
        for name, new in (("mamba_fwd", "ahead"), ("mamba_rev", "back")):
            converted |= read_direction(
                reader, f"{mixer}{name}.", f"{target}mixer.{new}.", conv_bias=config.conv_bias
            )
    reader.finish()
    return converted


def _take_tied(reader: TensorReader, name: str, tied_name: str) -> Tensor:
    """Return a tensor that is stored under one of two names or both."""
    if name not in reader and tied_name in reader:
        return reader.take(tied_name)
    tensor = reader.take(name)
    if tied_name in reader:
        tied = reader.take(tied_name)
        if not tensor.is_meta and not torch.equal(tensor, tied):
            raise CheckpointError(
                f"the tensors `{name}` and `{tied_name}` differ, and `{NAME}` shares them",
                hint="weights of another variant need another port",
            )
    return tensor


def _check_complement(stored: Tensor, config: CaduceusConfig, name: str) -> None:
    if not stored.is_meta and tuple(stored.tolist()) != config.complement:
        raise CheckpointError(
            f"the tensor `{name}` differs from `complement_map` in `config.json`",
            hint="fetch the files of one commit",
        )


def _read_tokenizer(folder: Path, document: Document) -> Tokenizer:
    rows = ConfigReader(document, NAME).take("vocab_size", int)
    # The tokenizer of Caduceus is code; PlantCaduceus has a file.
    rule = "tokenizer.json" if (folder / TOKENIZER_FILE).exists() else "characters"
    return read_published_tokenizer(folder, rule, num_rows=rows + -rows % VOCABULARY_MULTIPLE)


FAMILY = Family(
    name=NAME,
    recognise=recognise,
    read_config=read_config,
    convert=convert,
    read_tokenizer=_read_tokenizer,
    vocabulary_multiple=VOCABULARY_MULTIPLE,
)
