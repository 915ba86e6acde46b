"""HyenaDNA (Nguyen et al. 2023): the published layouts of its files.

The `-hf` repositories (`model_type: hyenadna`) are read. The authors' first repositories hold a
pickled Lightning checkpoint, which is refused: the `-hf` ones have the same weights as safetensors.
Mean pooling of the last layer is the pooling of the authors' own classifiers.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from genomeformer_cli.core.errors import CheckpointError, ConfigError
from genomeformer_cli.core.models.families.protocol import (
    ConfigReader,
    Document,
    Family,
    TensorReader,
    check_auto_map,
    refuse,
)
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.models.hyena import HyenaConfig
from genomeformer_cli.core.models.hyena_block import NORM_EPSILON, SHORT_KERNEL
from genomeformer_cli.core.tokenizers.published.reading import read_published_tokenizer

NAME = "hyenadna"
_CODE = (
    "configuration_hyena.HyenaConfig",
    "modeling_hyena.HyenaDNAModel",
    "modeling_hyena.HyenaDNAForCausalLM",
    "modeling_hyena.HyenaDNAForSequenceClassification",
)
# Dropout acts in training alone; the published code reads `use_bias` and does nothing with it.
_IGNORED = ("embed_dropout", "hyena_dropout", "hyena_filter_dropout", "use_bias")
# Places of the kernels that the authors add to the context for tokens around a sequence.
_SPARE_POSITIONS = 2
# The embedding and the head have rows for a multiple of so many ids.
MULTIPLE = 8
_BACKBONE = "hyena.backbone."


def read_config(document: Document, frame: Frame) -> HyenaConfig:
    """Read the `config.json` of a `-hf` repository.

    Raises:
        ConfigError: A key is unknown, missing or has a value that is not implemented.
    """
    check_auto_map(document, _CODE, NAME)
    reader = ConfigReader(document, NAME)
    reader.require("hyena_order", 2)
    reader.require("short_filter_order", SHORT_KERNEL)
    reader.require("layer_norm_epsilon", NORM_EPSILON)
    reader.require("pad_vocab_size_multiple", MULTIPLE)
    reader.flag("train_freq", is_on=True)
    reader.ignore(_IGNORED)
    width = reader.take("d_model", int, 256)
    positions = reader.take("max_seq_len", int, 1_024)
    config = HyenaConfig(
        vocabulary_size=-(-reader.take("vocab_size", int, 12) // MULTIPLE) * MULTIPLE,
        context=positions - _SPARE_POSITIONS,
        positions=positions,
        width=width,
        depth=reader.count("n_layer", 12),
        mlp_width=reader.take("d_inner", int, 4 * width),
        kernel_features=reader.take("emb_dim", int, 3),
        kernel_width=reader.take("filter_order", int, 64),
        kernel_depth=reader.count("num_inner_mlps", 2),
        frequency=reader.take("activation_freq", float, 1.0),
        tied=reader.take("tie_word_embeddings", bool, default=True),
        frame=frame,
    )
    reader.finish()
    return config


def convert(tensors: Mapping[str, Tensor], config: HyenaConfig) -> dict[str, Tensor]:
    """Rename the tensors of a `-hf` repository.

    Raises:
        CheckpointError: A tensor is missing or unknown.
    """
    reader = TensorReader(tensors, NAME)
    result = reader.rename(
        {
            f"{_BACKBONE}embeddings.word_embeddings.weight": "embedding.weight",
            f"{_BACKBONE}ln_f.weight": "norm.weight",
            f"{_BACKBONE}ln_f.bias": "norm.bias",
        }
    )
    if config.tied:
        reader.ignore(r"lm_head\.weight")
    else:
        result["head.weight"] = reader.take("lm_head.weight")
    for index in range(config.depth):
        result |= _convert_block(reader, index, config)
    reader.finish()
    return result


def _convert_block(reader: TensorReader, index: int, config: HyenaConfig) -> dict[str, Tensor]:
    source, target = f"{_BACKBONE}layers.{index}.", f"blocks.{index}."
    modules = {
        "norm1": "mixer_norm",
        "mixer.in_proj": "mixer.project_in",
        "mixer.out_proj": "mixer.project_out",
        "norm2": "mlp_norm",
        "mlp.fc1": "mlp_in",
        "mlp.fc2": "mlp_out",
    }
    network, kernel = f"{source}mixer.filter_fn.", f"{target}mixer.kernel."
    names = {
        f"{source}{old}.{kind}": f"{target}{new}.{kind}"
        for old, new in modules.items()
        for kind in ("weight", "bias")
    }
    names |= {
        f"{source}mixer.short_filter.bias": f"{target}mixer.short_bias",
        f"{network}bias": f"{target}mixer.direct",
        # Linear layers and sines alternate.
        f"{network}implicit_filter.{2 * config.kernel_depth + 2}.weight": f"{kernel}out.weight",
    }
    for layer in range(config.kernel_depth + 1):
        for kind in ("weight", "bias"):
            old = f"{network}implicit_filter.{2 * layer}.{kind}"
            names[old] = f"{kernel}layers.{layer}.{kind}"
    return reader.rename(names) | {
        f"{target}mixer.short_kernel": reader.take(f"{source}mixer.short_filter.weight")[:, 0],
        f"{kernel}features_MF": reader.take(f"{network}pos_emb.z")[0],
        f"{kernel}distances_M": reader.take(f"{network}pos_emb.t")[0, :, 0],
        f"{kernel}decays_E": reader.take(f"{network}modulation.deltas")[0, 0],
        f"{kernel}frequency": _frequency(reader, network, config),
    }


def _frequency(reader: TensorReader, network: str, config: HyenaConfig) -> Tensor:
    """Return the frequency that all sines of a network share; files name it once or repeatedly.

    Raises:
        CheckpointError: It is missing, or its copies differ.
    """
    names = [
        f"{network}implicit_filter.{2 * layer + 1}.freq" for layer in range(config.kernel_depth + 1)
    ]
    first, *copies = [reader.take(name) for name in names if name in reader] or [
        reader.take(names[0])
    ]
    if not first.is_meta and any(not first.equal(item) for item in copies):
        raise CheckpointError(
            f"the copies of `{names[0]}` differ, which are one tensor in the code of `{NAME}`",
            hint="fetch the model again; weights of another variant need another port",
        )
    return first[0]


def _is_checkpoint(document: Document) -> bool:
    layer = document.get("layer")
    return isinstance(layer, Mapping) and "l_max" in layer


def _explain_checkpoint(document: Document) -> ConfigError:
    del document
    return ConfigError(
        "this is the first layout of HyenaDNA, whose weights are a pickled Lightning checkpoint "
        "(`weights.ckpt`), which is never read",
        hint="the same weights as safetensors: `hf://LongSafari/NAME-hf`, such as "
        "`hf://LongSafari/hyenadna-small-32k-seqlen-hf`",
    )


FAMILY = Family(
    name=NAME,
    recognise=lambda document: document.get("model_type") == "hyenadna",
    read_config=read_config,
    convert=convert,
    read_tokenizer=lambda folder, document: read_published_tokenizer(folder, "characters"),
    vocabulary_multiple=MULTIPLE,
)
CHECKPOINTS = refuse("hyenadna-checkpoint", _is_checkpoint, _explain_checkpoint)
