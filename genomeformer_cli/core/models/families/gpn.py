"""GPN (Benegas et al. 2023): the published layouts of its single-sequence models.

`ConvNet` is the layout of gpn-brassicales, `GPN` the one of later models, with the encoders
`convnet` and `bytenet`. GPN-MSA and GPN-Star read alignments, which no input of this program holds:
they are refused, as is PhyloGPN, whose outputs are rates of substitution.
The authors take the mean of the last layer over a window as its vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.dilated import DilatedConfig
from genomeformer_cli.core.models.families.protocol import (
    ConfigReader,
    Document,
    Family,
    TensorReader,
    check_auto_map,
    refuse,
)
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.tokenizers.protocol import Tokenizer
from genomeformer_cli.core.tokenizers.published.reading import read_published_tokenizer

NAME, FIRST_NAME = "gpn", "gpn-convnet"
# Window of the training of the published models; a convolution has no longest row.
CONTEXT = 512
# Bounds of what a damaged file can ask for.
_MAX_DEPTH, _MAX_POWER = 4_096, 64
_OTHER_INPUTS = {
    "GPNRoFormer": "GPN-MSA",
    "GPNStar": "GPN-Star",
    "MSAConvNet": "GPN-MSA",
    "phylogpn": "PhyloGPN",
}
_TASKS = ("classification_head", "pos_weight", "regression_softplus", "hidden_dropout_prob")
# Settings of a transformer, which the class of the configuration inherits, and a size of features
# that are not read.
_UNUSED = (
    "add_cross_attention",
    "attention_probs_dropout_prob",
    "aux_features_vocab_size",
    "embedding_size",
    "hidden_act",
    "is_decoder",
    "layer_norm_eps",
    "max_position_embeddings",
    "num_attention_heads",
    "rotary_value",
    "type_vocab_size",
)


def read_config(document: Mapping[str, Any], frame: Frame) -> DilatedConfig:
    """Read `config.json` of the later layout.

    Raises:
        ConfigError: A key is unknown, missing or has a value that is not implemented.
    """
    reader = _open(document, NAME, "GPNForMaskedLM")
    encoder = reader.require("encoder", "convnet", "bytenet")
    embedding = reader.require("embedding", "one_hot", "embedding")
    depth = _check_depth(reader.count("num_hidden_layers", 25))
    width = reader.take("hidden_size", int, 512)
    mlp_width = reader.take("intermediate_size", int, 2_048)
    is_slim = reader.take("slim", bool, default=False)
    first = reader.take("first_kernel_size", int, 9)
    rest = reader.take("rest_kernel_size", int, 5)
    reader.flag("tie_word_embeddings", is_on=False)
    config = DilatedConfig(
        vocabulary_size=reader.take("vocab_size", int, 7),
        context=CONTEXT,
        width=width,
        kernels=(first, *(rest,) * (depth - 1)),
        dilations=_read_dilations(reader, depth, cycle=8, largest=9_999),
        block="pre-norm" if encoder == "convnet" else "bytenet",
        inner_width=mlp_width if encoder == "convnet" else width // 2 if is_slim else width,
        depthwise=reader.take("depthwise", bool, default=False),
        bias=reader.take("bias", bool, default=False),
        embedding="one-hot" if embedding == "one_hot" else "learned",
        head_hidden=reader.take("mlm_head_transform", bool, default=True),
        frame=frame,
    )
    reader.finish()
    return config


def read_first_config(document: Mapping[str, Any], frame: Frame) -> DilatedConfig:
    """Read `config.json` of the layout of gpn-brassicales.

    Raises:
        ConfigError: A key is unknown, missing or has a value that is not implemented.
    """
    reader = _open(document, FIRST_NAME, "ConvNetForMaskedLM")
    depth = _check_depth(reader.count("n_layers", 25))
    width = reader.take("hidden_size", int, 512)
    config = DilatedConfig(
        vocabulary_size=reader.take("vocab_size", int, 7),
        context=CONTEXT,
        width=width,
        kernels=(reader.take("kernel_size", int, 9),) * depth,
        dilations=_read_dilations(reader, depth, cycle=6, largest=32),
        block="post-norm",
        inner_width=width,
        frame=frame,
    )
    reader.finish()
    return config


def _open(document: Mapping[str, Any], family: str, architecture: str) -> ConfigReader:
    check_auto_map(document, (), family)
    reader = ConfigReader(document, family)
    reader.require("architectures", [architecture])
    reader.require("n_aux_features", 0)
    reader.ignore((*_UNUSED, *_TASKS))
    return reader


def _check_depth(depth: int) -> int:
    if not 1 <= depth <= _MAX_DEPTH:
        raise ConfigError(
            f"`config.json`: invalid number of blocks: {depth:,}",
            hint="the model is damaged; fetch it again",
        )
    return depth


def _read_dilations(
    reader: ConfigReader, depth: int, *, cycle: int, largest: int
) -> tuple[int, ...]:
    """Return the dilation of each block: powers of a base, which start again after a cycle.

    Raises:
        ConfigError: A setting is invalid.
    """
    cycle = reader.take("dilation_cycle", int, cycle)
    largest = reader.take("dilation_max", int, largest)
    step = reader.take("dilation_double_every", int, 1)
    base = reader.take("dilation_base", int, 2)
    if min(cycle, step, base) < 1 or cycle // step > _MAX_POWER:
        raise ConfigError(
            f"invalid dilations: powers of {base}, cycles of {cycle}, steps of {step}",
            hint="the model is damaged; fetch it again",
        )
    return tuple(min(largest, base ** (index % cycle // step)) for index in range(depth))


def convert(tensors: Mapping[str, Tensor], config: DilatedConfig) -> dict[str, Tensor]:
    """Rename the tensors of the later layout.

    Raises:
        CheckpointError: A tensor is missing or unknown.
    """
    reader = TensorReader(tensors, NAME)
    modules = {"model.ln_f": "norm", "cls.decoder": "head"}
    if config.head_hidden:
        modules |= {"cls.transform.0": "head_hidden", "cls.transform.2": "head_norm"}
    # Positions in the authors' sequences of layers, activations and transpositions.
    inner = (
        {
            "layer.0": "norm_in",
            "layer.2": "project_in",
            "layer.3": "convolution_norm",
            "layer.6": "convolution",
            "layer.8": "norm_out",
            "layer.10": "project_out",
        }
        if config.block == "bytenet"
        else {
            "conv.0": "convolution_norm",
            "conv.2": "convolution",
            "conv.5": "convolution_out",
            "ffn.0": "mlp_norm",
            "ffn.1": "mlp_in",
            "ffn.3": "mlp_out",
        }
    )
    result = _rename(reader, modules, "model.encoder.layer.", inner, config)
    if config.embedding == "learned":
        result["embedding.weight"] = reader.take("model.embeddings.word_embeddings.weight")
    reader.finish()
    return result


def convert_first(tensors: Mapping[str, Tensor], config: DilatedConfig) -> dict[str, Tensor]:
    """Rename the tensors of the layout of gpn-brassicales.

    Raises:
        CheckpointError: A tensor is missing or unknown.
    """
    reader = TensorReader(tensors, FIRST_NAME)
    modules = {
        "cls.decoder.0": "head_hidden",
        "cls.decoder.2": "head_norm",
        "cls.decoder.3": "head",
    }
    inner = {
        "conv.1": "convolution",
        "conv.4": "convolution_norm",
        "ffn.0": "mlp",
        "ffn.2": "mlp_norm",
    }
    result = _rename(reader, modules, "model.encoder.", inner, config)
    reader.finish()
    return result


def _rename(
    reader: TensorReader,
    modules: Mapping[str, str],
    blocks: str,
    inner: Mapping[str, str],
    config: DilatedConfig,
) -> dict[str, Tensor]:
    """Take the weights and biases of modules, and of the modules of every block."""
    renamed = dict(modules) | {
        f"{blocks}{index}.{old}": f"blocks.{index}.{new}"
        for index in range(config.depth)
        for old, new in inner.items()
    }
    kinds = ("weight", "bias") if config.bias else ("weight",)
    return reader.rename(
        {f"{old}.{kind}": f"{new}.{kind}" for old, new in renamed.items() for kind in kinds}
    )


def _read_tokenizer(folder: Path, document: Document) -> Tokenizer:
    del document
    return read_published_tokenizer(folder, "tokenizer.json")


def _explain_other_inputs(document: Document) -> ConfigError:
    name = _OTHER_INPUTS[document["model_type"]]
    reason = (
        "predicts rates of substitution" if name == "PhyloGPN" else "reads alignments of genomes"
    )
    return ConfigError(
        f"{name} {reason}, which is not implemented",
        hint="models of single sequences: `hf://songlab/gpn-brassicales`",
    )


FAMILY = Family(
    name=NAME,
    recognise=lambda document: document.get("model_type") == "GPN",
    read_config=read_config,
    convert=convert,
    read_tokenizer=_read_tokenizer,
)
FIRST_FAMILY = Family(
    name=FIRST_NAME,
    recognise=lambda document: document.get("model_type") == "ConvNet",
    read_config=read_first_config,
    convert=convert_first,
    read_tokenizer=_read_tokenizer,
)
OTHER_INPUTS = refuse(
    "gpn-aligned",
    lambda document: document.get("model_type") in _OTHER_INPUTS,
    _explain_other_inputs,
)
