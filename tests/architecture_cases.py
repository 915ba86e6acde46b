"""Tiny configurations of every architecture, for `tests/contracts/test_architectures.py`.

A new architecture adds an entry to `CASES`; one entry per kind of layer is worth it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genomeformer_cli.core.attention.registry import AttentionConfig
from genomeformer_cli.core.models.caduceus import CaduceusConfig
from genomeformer_cli.core.models.decoder import DecoderConfig
from genomeformer_cli.core.models.dilated import DilatedConfig
from genomeformer_cli.core.models.encoder import EncoderConfig
from genomeformer_cli.core.models.framed import Frame
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.hyena import HyenaConfig
from genomeformer_cli.core.models.mamba import MambaConfig
from genomeformer_cli.core.models.protocol import ArchitectureConfig

VOCABULARY = 19
COMPLEMENT = (0, 1, 2, 3, 4, 8, 7, 6, 5, 9)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Configuration to test, and what the architecture cannot do."""

    config: ArchitectureConfig
    # Pattern of the error of `release --onnx`; None if the model can be exported.
    onnx_refusal: str | None = None
    # Parameters that are kept for another use of the same weights.
    unused: tuple[str, ...] = ()

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Ids of tokens of bases."""
        if isinstance(self.config, ModelConfig):
            return (5, 6, 7, 8)
        return tuple(range(9, self.config.vocabulary_size))


def _dilated(**settings: Any) -> Case:
    sizes: dict[str, Any] = {
        "vocabulary_size": VOCABULARY,
        "context": 30,
        "width": 20,
        "kernels": (5, 3),
        "dilations": (1, 2),
        "inner_width": 12,
        "frame": Frame(pad_id=1),
    }
    return Case(config=DilatedConfig(**{**sizes, **settings}))


def _ours(*unused: str, **settings: Any) -> Case:
    config = ModelConfig(context=32, width=8, depth=2, num_heads=2, mlp_width=12, **settings)
    return Case(config=config, unused=unused)


def _decoder(**settings: Any) -> Case:
    sizes: dict[str, Any] = {
        "vocabulary_size": VOCABULARY,
        "context": 30,
        "width": 12,
        "depth": 2,
        "num_heads": 3,
        "num_key_value_heads": 3,
        "head_width": 4,
        "mlp_width": 14,
        "frame": Frame(pad_id=1, prefix=(2,), suffix=(3,)),
    }
    is_refused = any(0 < window < 32 for window in settings.get("windows", ()))
    return Case(
        config=DecoderConfig(**{**sizes, **settings}),
        onnx_refusal="cannot be exported" if is_refused else None,
    )


def _encoder(**settings: Any) -> Case:
    sizes: dict[str, Any] = {
        "vocabulary_size": VOCABULARY,
        "context": 30,
        "width": 12,
        "depth": 2,
        "num_heads": 3,
        "mlp_width": 14,
        "frame": Frame(pad_id=1, prefix=(2,), suffix=(3,)),
    }
    return Case(config=EncoderConfig(**{**sizes, **settings}))


_MAMBA: dict[str, Any] = {
    "vocabulary_size": VOCABULARY,
    "context": 30,
    "width": 8,
    "depth": 2,
    "inner_width": 16,
    "state_size": 3,
    "step_rank": 2,
}
_HYENA: dict[str, Any] = {
    "vocabulary_size": VOCABULARY,
    "context": 30,
    "positions": 32,
    "width": 8,
    "depth": 2,
    "mlp_width": 12,
    "kernel_width": 6,
    "frequency": 2.0,
    "frame": Frame(pad_id=1, suffix=(3,)),
}
PRE_NORM: dict[str, Any] = {"norm": "pre", "final_norm": True}
CASES: dict[str, Case] = {
    "genomeformer": _ours(),
    "genomeformer, causal": _ours(direction="causal", attention=AttentionConfig(name="linear")),
    "genomeformer, two stacks": _ours(
        "ahead.head.weight", direction="two-stack", complement=COMPLEMENT
    ),
    "genomeformer, both strands": _ours(strands="both", complement=COMPLEMENT),
    "genomeformer, patches": _ours(patch=4),
    "bert": _encoder(segment=True),
    "gena-lm": _encoder(segment=True, norm="pre"),
    "dnabert2": _encoder(segment=True, positions="alibi", gated=True, mlp_up_bias=False),
    "nucleotide-transformer": _encoder(
        **PRE_NORM,
        embedding_norm=False,
        token_dropout=True,
        mask_id=4,
        tied=False,
        frame=Frame(pad_id=1, prefix=(3,)),
    ),
    "nucleotide-transformer-v2": _encoder(
        **PRE_NORM,
        positions="rotary",
        embedding_norm=False,
        gated=True,
        activation="silu",
        mlp_up_bias=False,
        mlp_out_bias=False,
        frame=Frame(pad_id=1, prefix=(3,)),
    ),
    "prokbert": _encoder(
        **PRE_NORM,
        positions="relative-key-query",
        max_positions=36,
        embedding_norm=False,
        segment=True,
    ),
    "modernbert": _encoder(
        **PRE_NORM,
        positions="rotary",
        rotary_base=160_000.0,
        local_blocks=(2,),
        local_window=3,
        first_norm=False,
        norm_bias=False,
        attention_bias=False,
        gated=True,
        mlp_up_bias=False,
        mlp_out_bias=False,
        head_bias=False,
        depth=3,
    ),
    "llama": _decoder(num_key_value_heads=1),
    "gpt2": _decoder(
        norm="layer",
        positions="learned",
        activation="gelu-tanh",
        gated=False,
        attention_bias=True,
        attention_out_bias=True,
        mlp_bias=True,
        tied_head=True,
    ),
    "mixtral": _decoder(num_experts=3, experts_per_token=2, windows=(0, 4)),
    "eurobert": _decoder(direction="bidirectional", query_key_norm=True),
    "mamba": Case(config=MambaConfig(**_MAMBA), onnx_refusal="SelectiveState"),
    "caduceus": Case(config=CaduceusConfig(**_MAMBA), onnx_refusal="SelectiveState"),
    "caduceus, both strands": Case(
        config=CaduceusConfig(
            **_MAMBA,
            strands="both",
            complement=tuple(reversed(range(VOCABULARY))),
        ),
        onnx_refusal="SelectiveState",
    ),
    "hyenadna": Case(config=HyenaConfig(**_HYENA, tied=False), onnx_refusal="HyenaMixer"),
    "hyenadna, tied": Case(config=HyenaConfig(**_HYENA), onnx_refusal="HyenaMixer"),
    "gpn, first layout": _dilated(),
    "gpn": _dilated(block="pre-norm", depthwise=True, embedding="learned"),
    "gpn, bytenet": _dilated(block="bytenet", bias=False, embedding="learned", head_hidden=False),
}
