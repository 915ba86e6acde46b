"""Encoders from other packages, built alike: what the benchmarks measure ours against.

Each maps token ids (B, L) to features (B, L, E); embedding and head are the same for all that bring
none. Dropout is off. What a package is given: the same width, depth, heads, hidden features of the
MLP, and the same dials of the mechanism as ours.
Shape letters: B batch, L length, E width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes of the encoders of a run."""

    length: int  # L.
    width: int = 256  # E.
    depth: int = 4  # Layers.
    heads: int = 4  # Heads of a layer.
    hidden: int = 1024  # Features inside the MLP.
    vocabulary: int = 10  # Token ids.
    features: int = 256  # Random features of a head.
    projected: int = 256  # Mixtures of keys and of values that linformer learns.
    landmarks: int = 64  # Landmarks of nystromformer.
    iterations: int = 6  # Iterations of its pseudo-inverse.
    convolution: int = 33  # Width of its convolution of the values.
    window: int = 128  # Positions seen to either side.
    rounds: int = 2  # Rounds of hashing.
    chunk: int = 64  # Positions of a chunk of the sorted row.

    @property
    def head_width(self) -> int:
        """Features of a head."""
        return self.width // self.heads


class Peer(nn.Module):
    """An encoder between our embedding and our head.

    Args:
        size: Widths.
        encoder: (B, L, E) to (B, L, E).
    """

    def __init__(self, size: Size, encoder: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size.vocabulary, size.width)
        self.encoder = encoder
        self.head = nn.Linear(size.width, size.vocabulary)

    def features(self, ids_BL: Tensor) -> Tensor:
        """(B, L, E)."""
        features_BLE: Tensor = self.encoder(self.embedding(ids_BL))
        return features_BLE


class Transformers(nn.Module):
    """An encoder of `transformers`, with its own embedding, under our head.

    Args:
        size: Widths.
        encoder: A model that returns `last_hidden_state`.
        head_inputs: Features that it returns.
        arguments: Further arguments of its call.
    """

    def __init__(
        self,
        size: Size,
        encoder: nn.Module,
        head_inputs: int | None = None,
        arguments: Callable[[Tensor], dict[str, Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(head_inputs or size.width, size.vocabulary)
        self._arguments = arguments

    def features(self, ids_BL: Tensor) -> Tensor:
        """(B, L, E)."""
        more = {} if self._arguments is None else self._arguments(ids_BL)
        features_BLE: Tensor = self.encoder(input_ids=ids_BL, **more).last_hidden_state
        return features_BLE


def torch_encoder(size: Size) -> Peer | Transformers:
    """Plain softmax attention by torch's own layers, which run it fused."""
    layer = nn.TransformerEncoderLayer(
        size.width,
        size.heads,
        size.hidden,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    return Peer(size, nn.TransformerEncoder(layer, size.depth, enable_nested_tensor=False))


def performer_pytorch(size: Size) -> Peer | Transformers:
    """`performer-pytorch`, softmax kernel, features as many as ours."""
    from performer_pytorch import Performer

    encoder = Performer(
        dim=size.width,
        depth=size.depth,
        heads=size.heads,
        dim_head=size.head_width,
        nb_features=size.features,
        feature_redraw_interval=None,
    )
    return Peer(size, encoder)


def linformer(size: Size) -> Peer | Transformers:
    """`linformer`: one matrix for the keys of all heads, one for the values, as ours."""
    from linformer import Linformer

    encoder = Linformer(
        dim=size.width, seq_len=size.length, depth=size.depth, heads=size.heads, k=size.projected
    )
    return Peer(size, encoder)


def nystrom_attention(size: Size) -> Peer | Transformers:
    """`nystrom-attention`."""
    from nystrom_attention import Nystromformer

    encoder = Nystromformer(
        dim=size.width,
        depth=size.depth,
        dim_head=size.head_width,
        heads=size.heads,
        num_landmarks=size.landmarks,
        pinv_iterations=size.iterations,
        attn_values_residual_conv_kernel=size.convolution,
    )
    return Peer(size, encoder)


def linear_attention_transformer(size: Size) -> Peer | Transformers:
    """`linear-attention-transformer`: softmax over features and over positions as its kernel."""
    from linear_attention_transformer import LinearAttentionTransformer

    encoder = LinearAttentionTransformer(
        dim=size.width, depth=size.depth, heads=size.heads, max_seq_len=size.length
    )
    return Peer(size, encoder)


def reformer_pytorch(size: Size, *, reversible: bool = True) -> Peer:
    """`reformer-pytorch`, reversible as it comes, or not."""
    from reformer_pytorch import Reformer

    encoder = Reformer(
        dim=size.width,
        depth=size.depth,
        heads=size.heads,
        bucket_size=size.chunk,
        n_hashes=size.rounds,
        ff_chunks=1,
        reverse_thres=0 if reversible else size.length + 1,
    )
    return Peer(size, encoder)


class _LocalBlock(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        from local_attention.transformer import LocalMHA

        self.attention = LocalMHA(
            dim=size.width,
            window_size=size.window,
            dim_head=size.head_width,
            heads=size.heads,
            causal=False,
            prenorm=True,
            exact_windowsize=True,
        )
        self.mlp = nn.Sequential(
            nn.LayerNorm(size.width),
            nn.Linear(size.width, size.hidden),
            nn.GELU(),
            nn.Linear(size.hidden, size.width),
        )

    def forward(self, x_BLE: Tensor) -> Tensor:
        x_BLE = x_BLE + self.attention(x_BLE)
        mixed_BLE: Tensor = x_BLE + self.mlp(x_BLE)
        return mixed_BLE


def local_attention(size: Size) -> Peer | Transformers:
    """The layer of `local-attention`, with an exact window as ours, in pre-norm blocks."""
    return Peer(size, nn.Sequential(*(_LocalBlock(size) for _ in range(size.depth))))


class _LinearBlock(nn.Module):
    """Layer of flash-linear-attention in a pre-norm block; causal."""

    def __init__(self, size: Size, make: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size.width)
        self.attention = make(size.width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(size.width),
            nn.Linear(size.width, size.hidden),
            nn.GELU(),
            nn.Linear(size.hidden, size.width),
        )

    def forward(self, x_BLE: Tensor) -> Tensor:
        x_BLE = x_BLE + self.attention(self.norm(x_BLE))[0]
        mixed_BLE: Tensor = x_BLE + self.mlp(x_BLE)
        return mixed_BLE


def flash_linear_attention(size: Size, kind: str) -> Peer | Transformers:
    """A layer of `flash-linear-attention` without its short convolution and output gate."""
    from fla import layers

    options: dict[str, dict[str, Any]] = {
        "LinearAttention": {"feature_map": "elu", "num_heads": size.heads},
        "SimpleGatedLinearAttention": {"use_short_conv": False, "num_heads": size.heads},
        "GatedDeltaNet": {
            "use_short_conv": False,
            "use_gate": False,
            "num_heads": size.heads,
            "head_dim": size.head_width,
            "expand_v": 1,
        },
    }

    def make(width: int) -> nn.Module:
        layer: nn.Module = getattr(layers, kind)(hidden_size=width, **options[kind])
        return layer

    return Peer(size, nn.Sequential(*(_LinearBlock(size, make) for _ in range(size.depth))))


def _common(size: Size) -> dict[str, Any]:
    return {
        "vocab_size": size.vocabulary,
        "hidden_size": size.width,
        "num_hidden_layers": size.depth,
        "num_attention_heads": size.heads,
        "intermediate_size": size.hidden,
        "max_position_embeddings": size.length + 2,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "type_vocab_size": 1,
    }


def hf_longformer(size: Size) -> Peer | Transformers:
    """`LongformerModel`, one global position."""
    from transformers import LongformerConfig, LongformerModel

    def first_is_global(ids_BL: Tensor) -> dict[str, Tensor]:
        mask_BL = torch.zeros_like(ids_BL)
        mask_BL[:, 0] = 1
        return {"global_attention_mask": mask_BL}

    config = LongformerConfig(**_common(size), attention_window=2 * size.window)
    encoder = LongformerModel(config, add_pooling_layer=False)
    return Transformers(size, encoder, arguments=first_is_global)


def hf_nystromformer(size: Size) -> Peer | Transformers:
    """`NystromformerModel`."""
    from transformers import NystromformerConfig, NystromformerModel

    config = NystromformerConfig(
        **_common(size),
        segment_means_seq_len=size.length,
        num_landmarks=size.landmarks,
        conv_kernel_size=size.convolution,
        inv_coeff_init_option=False,
    )
    return Transformers(size, NystromformerModel(config))


def hf_reformer(size: Size) -> Peer | Transformers:
    """`ReformerModel`, reversible as it always is; its two streams are returned side by side."""
    from transformers import ReformerConfig, ReformerModel

    rows = 2 ** (int(math.log2(size.length)) // 2)
    config = ReformerConfig(
        **_common(size),
        attn_layers=["lsh"] * size.depth,
        axial_pos_shape=(rows, size.length // rows),
        axial_pos_embds_dim=(size.width // 2, size.width // 2),
        attention_head_size=size.head_width,
        feed_forward_size=size.hidden,
        lsh_attn_chunk_length=size.chunk,
        num_hashes=size.rounds,
        num_buckets=None,
        is_decoder=False,
        lsh_attention_probs_dropout_prob=0.0,
    )
    return Transformers(size, ReformerModel(config), head_inputs=2 * size.width)


def hf_bigbird(size: Size) -> Peer | Transformers:
    """`BigBirdModel`, blocks of 64, three random ones; a relative of longformer."""
    from transformers import BigBirdConfig, BigBirdModel

    config = BigBirdConfig(
        **_common(size), attention_type="block_sparse", block_size=64, num_random_blocks=3
    )
    return Transformers(size, BigBirdModel(config, add_pooling_layer=False))


def is_installed(name: str) -> bool:
    """Return True if the package of a peer can be imported."""
    try:
        return find_spec(PEERS[name][0]) is not None
    except ModuleNotFoundError:  # the package around it
        return False


# Name, package, mechanism that it is a counterpart of, builder.
PEERS: dict[str, tuple[str, str, Callable[[Size], Peer | Transformers]]] = {
    "torch-encoder": ("torch", "softmax", torch_encoder),
    "local-attention": ("local_attention", "local", local_attention),
    "hf-longformer": ("transformers", "longformer", hf_longformer),
    "hf-bigbird": ("transformers", "", hf_bigbird),
    "reformer-pytorch": ("reformer_pytorch", "reformer", reformer_pytorch),
    "reformer-pytorch-kept": (
        "reformer_pytorch",
        "reformer",
        lambda size: reformer_pytorch(size, reversible=False),
    ),
    "hf-reformer": ("transformers", "reformer", hf_reformer),
    "linformer": ("linformer", "linformer", linformer),
    "nystrom-attention": ("nystrom_attention", "nystromformer", nystrom_attention),
    "hf-nystromformer": ("transformers", "nystromformer", hf_nystromformer),
    "performer-pytorch": ("performer_pytorch", "performer", performer_pytorch),
    "linear-attention-transformer": (
        "linear_attention_transformer",
        "linear",
        linear_attention_transformer,
    ),
    "fla-linear": (
        "fla.layers",
        "linear",
        lambda size: flash_linear_attention(size, "LinearAttention"),
    ),
    "fla-simple-gla": (
        "fla.layers",
        "gated-linear",
        lambda size: flash_linear_attention(size, "SimpleGatedLinearAttention"),
    ),
    "fla-gated-deltanet": (
        "fla.layers",
        "gated-delta",
        lambda size: flash_linear_attention(size, "GatedDeltaNet"),
    ),
}
