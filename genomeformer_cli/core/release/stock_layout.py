"""Layout of stock classes of transformers, for the models of ours that have their form.

A softmax stack without short convolutions and patches has the form of

- `Qwen3ForCausalLM`: causal, queries and keys normalised;
- `LlamaForCausalLM`: causal, queries and keys as they are (`model.query_key_norm=false`);
- `EuroBertForMaskedLM`: bidirectional, queries and keys as they are.

The numbers are the same under other names; transformers opens the folder without code of ours.
Shape letters: E width.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from genomeformer_cli.core.attention.kernels.rms_norm import EPSILON
from genomeformer_cli.core.documents import read_json
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.protocol import ArchitectureConfig, Model
from genomeformer_cli.core.models.registry import build_model, find_family, trainable_config
from genomeformer_cli.core.store.atomic import write_json
from genomeformer_cli.core.tokenizers.files import CONFIG_FILE, TOKENIZER_FILE
from genomeformer_cli.core.tokenizers.protocol import Tokenizer

# Stock class and `model_type` by direction and normalisation of queries and keys.
_FORMS = {
    ("causal", True): ("Qwen3ForCausalLM", "qwen3"),
    ("causal", False): ("LlamaForCausalLM", "llama"),
    ("bidirectional", False): ("EuroBertForMaskedLM", "eurobert"),
}
_PRESETS = "start from `--preset stock-causal` or `--preset stock-masked`"


def check_form(config: ArchitectureConfig) -> ModelConfig:
    """Return the configuration of a model that has the form of a stock class.

    Raises:
        ConfigError: It has another form; the message names the settings that differ.
    """
    config = trainable_config(config)
    differences = [
        f"`model.{setting}` is `{value}`, not `{stock}`"
        for setting, value, stock in (
            ("attention.name", ", ".join(config.attention.names), "softmax"),
            ("conv_width", config.conv_width, 0),
            ("patch", config.patch, 1),
            ("residual", config.residual, "plain"),
            ("strands", config.strands, "one"),
        )
        if value != stock
    ]
    if (config.direction, config.query_key_norm) not in _FORMS:
        differences.append(
            "it reads both directions with normalised queries and keys, not with "
            "`model.query_key_norm=false`"
            if config.direction == "bidirectional"
            else f"`model.direction` is `{config.direction}`"
        )
    if differences:
        raise ConfigError(
            f"no stock class of transformers has the form of this model: {'; '.join(differences)}",
            hint=f"{_PRESETS}; any model opens after `import genomeformer_cli.transformers`",
        )
    return config


def stock_class(config: ArchitectureConfig) -> str:
    """Return the name of the stock class, e.g. `Qwen3ForCausalLM`."""
    config = check_form(config)
    return _FORMS[config.direction, config.query_key_norm][0]


def stock_config(config: ArchitectureConfig, tokenizer: Tokenizer, dtype: str) -> dict[str, Any]:
    """Return `config.json` as the stock class reads it.

    Args:
        config: Configuration of the model.
        tokenizer: Tokenizer of the model.
        dtype: Type of the stored numbers, e.g. `float32`.
    """
    config = check_form(config)
    architecture, model_type = _FORMS[config.direction, config.query_key_norm]
    plain: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_heads,
        "head_dim": config.width // config.num_heads,
        "hidden_act": "silu",
        "max_position_embeddings": config.context,
        "rms_norm_eps": EPSILON,
        "rope_theta": config.rotary_base,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
        "pad_token_id": tokenizer.pad_id,
        "bos_token_id": None,
        "eos_token_id": None,
        "torch_dtype": dtype,
    }
    if model_type == "qwen3":
        plain |= {"use_sliding_window": False, "sliding_window": None}
    else:
        plain["mlp_bias"] = False
    if model_type == "eurobert":
        plain |= {"mask_token_id": tokenizer.mask_id, "classifier_pooling": "mean"}
    return plain


def stock_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the names of the stock class."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.startswith("blocks."):
            renamed[_OUTER[name]] = tensor
            continue
        _, number, part = name.split(".", maxsplit=2)
        parts = _PARTS[part]
        pieces = tensor.chunk(len(parts)) if len(parts) > 1 else (tensor,)
        for stock_name, piece in zip(parts, pieces, strict=True):
            renamed[f"model.layers.{number}.{stock_name}.weight"] = piece.contiguous()
    return renamed


_OUTER = {
    "embedding.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
_PARTS = {
    "attention_norm.weight": ("input_layernorm",),
    "attention.qkv.weight": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.query_norm.weight": ("self_attn.q_norm",),
    "attention.key_norm.weight": ("self_attn.k_norm",),
    "attention.out.weight": ("self_attn.o_proj",),
    "mlp_norm.weight": ("post_attention_layernorm",),
    "mlp.gate_and_up.weight": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.out.weight": ("mlp.down_proj",),
}
# A sequence stands alone: no token is added before or after it.
_POST_PROCESSOR: dict[str, Any] = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {},
}


def complete_tokenizer(folder: Path, context: int) -> None:
    """Add to the tokenizer in a folder what calls of it in transformers need.

    Args:
        folder: Folder with the files of `save_tokenizer`.
        context: Longest window in tokens.
    """
    tokenizer, settings = folder / TOKENIZER_FILE, folder / CONFIG_FILE
    write_json(tokenizer, {**read_json(tokenizer), "post_processor": _POST_PROCESSOR})
    write_json(
        settings,
        {
            **read_json(settings),
            "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": context,
            "padding_side": "right",
        },
    )


def as_loaded(
    config: ArchitectureConfig, tokenizer: Tokenizer, tensors: Mapping[str, Tensor]
) -> Model:
    """Return the model as it is loaded from the stock layout of its tensors."""
    family = find_family(document := stock_config(config, tokenizer, "float32"))
    loaded = build_model(family.read_config(document, Frame(pad_id=tokenizer.pad_id)))
    loaded.load_state_dict(family.convert(stock_tensors(tensors), loaded.config))
    return loaded.eval()
