"""Draw what attends to what: docs/images/attention-<name>.png for every mechanism of the registry.

`python docs/generate_attention_pictures.py [NAME ...]`. Nothing is drawn
by hand: every mechanism is linear in its values (but for a scale of each row, where it normalises
its output), so the identity for values gives the matrix of weights that it applies, whether it ever
makes that matrix or not. A new mechanism needs one entry in `PATTERNS`.
"""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from torch import Tensor, nn

from genomeformer_cli.core.attention.registry import (
    ATTENTIONS,
    AttentionConfig,
    AttentionContext,
    AttentionEntry,
)

mpl.use("Agg")
from matplotlib import pyplot as plt

IMAGES = Path(__file__).resolve().parent / "images"
# As wide as the row is long: the identity then goes through at once.
LENGTH = HEAD_WIDTH = 128


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """What a picture shows."""

    words: str  # The pattern in words; stands under the picture.
    # Settings of `AttentionConfig` that make it visible at 128 positions.
    dials: dict[str, Any] = field(default_factory=dict)
    # Raw gates, which forget slowly enough for the picture to show it.
    gates: tuple[float, ...] = ()
    # Whether the picture is of the causal mechanism run from either end and summed.
    both_ways: bool = False
    of: str = ""  # The mechanism, where its name is not the picture's.


PATTERNS: dict[str, Pattern] = {
    "softmax": Pattern(words="every position weighs every position by their similarity"),
    "linformer": Pattern(
        words="128 positions seen through 24 learned mixtures: stripes, here untrained",
        dials={"num_projected": 24},
    ),
    "nystromformer": Pattern(
        words="softmax through 24 landmarks: queries and keys of a segment share an outline",
        dials={"num_landmarks": 24, "value_conv_width": 0},
    ),
    "performer": Pattern(
        words="softmax estimated by 256 random features, through one sum over the sequence",
        dials={"num_features": 256},
    ),
    "local": Pattern(
        words="softmax within a window of 12 positions to either side", dials={"window": 12}
    ),
    "longformer": Pattern(
        words="a window, and two first positions that see all and are seen by all",
        dials={"window": 12, "num_global": 2},
    ),
    "reformer": Pattern(
        words="softmax among positions that a random hash has put side by side",
        dials={"hash_chunk": 16, "hash_rounds": 2},
    ),
    "linear": Pattern(words="weights that are products of two features: one sum holds them all"),
    "gated-linear": Pattern(
        words="a state that fades: the further back, the less is left of it", gates=(0.0,)
    ),
    "gated-delta": Pattern(
        words="a state that fades, and in which what a key held gives way to what it holds now",
        gates=(0.0, 0.0),
    ),
    "two-stack": Pattern(
        words="a causal stack from either end: before and after, each in a triangle of its own",
        of="softmax",
        both_ways=True,
    ),
}


def weights(mechanism: nn.Module, entry: AttentionEntry, inputs: tuple[Tensor, ...]) -> Tensor:
    """(L, L): row i holds what position i takes of each position's value."""
    q_BHLD, k_BHLD, gates_BHLG = inputs
    if entry.shares_query_key:
        k_BHLD = q_BHLD
    gates = gates_BHLG if gates_BHLG.shape[-1] else None
    with torch.no_grad():
        weights_11LL: Tensor = mechanism(q_BHLD, k_BHLD, torch.eye(LENGTH)[None, None], None, gates)
    return weights_11LL[0, 0]


def queries_and_keys() -> tuple[Tensor, Tensor]:
    """A slow random walk whose second half comes back to the first: neighbours and a repeat."""
    generator = torch.Generator().manual_seed(7)
    steps_LD = torch.randn(LENGTH // 2, HEAD_WIDTH, generator=generator)
    kernel_LL = torch.exp(
        -((torch.arange(LENGTH // 2)[:, None] - torch.arange(LENGTH // 2)) ** 2) / 40.0
    )
    walk_LD = (kernel_LL @ steps_LD).repeat(2, 1)
    noise_LD = 0.3 * torch.randn(LENGTH, HEAD_WIDTH, generator=generator)
    x_LD = nn.functional.rms_norm(walk_LD + noise_LD * walk_LD.std(), (HEAD_WIDTH,))
    # Scores as in a head of usual width.
    return 0.6 * x_LD[None, None], x_LD[None, None]


def matrix(name: str, way: str) -> Tensor:
    """The weights of a picture."""
    pattern = PATTERNS[name]
    mechanism = pattern.of or name
    entry = ATTENTIONS[mechanism]
    config = AttentionConfig(name=mechanism, **pattern.dials)
    setting = AttentionContext(
        num_heads=1,
        head_width=HEAD_WIDTH,
        context=LENGTH,
        causal=pattern.both_ways or way == "causal",
    )
    module = entry.build(config, setting, torch.Generator().manual_seed(0))
    num_gates = entry.num_gates(config, setting)
    # Run both ways, a mechanism asks for twice as many.
    gates_G = torch.tensor(pattern.gates).repeat(num_gates // max(1, len(pattern.gates)))
    gates_BHLG = gates_G.expand(1, 1, LENGTH, -1)
    inputs = (*queries_and_keys(), gates_BHLG)
    found_LL = weights(module, entry, inputs)
    if not pattern.both_ways:
        return found_LL
    reversed_LL = weights(module, entry, tuple(one.flip(2) for one in inputs)).flip(0, 1)
    # What a position predicts itself from is strictly before and strictly after it.
    return (found_LL.tril(-1) + reversed_LL.triu(1)) / 2


def draw(name: str, way: str, path: Path) -> None:
    """Draw one matrix; dark is much."""
    found_LL = matrix(name, way).abs()
    shown_LL = (found_LL / found_LL.quantile(0.995)).clamp(0, 1).sqrt()
    figure, axes = plt.subplots(figsize=(3.2, 3.7), dpi=110)
    axes.imshow(shown_LL.numpy(), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    for axis, alignment in ((axes.xaxis, "ha"), (axes.yaxis, "va")):
        axis.set_ticks([0, LENGTH - 1], ["first", "last"], fontsize=7)
        first, last = axis.get_ticklabels()
        first.set(**{alignment: "left" if alignment == "ha" else "top"})
        last.set(**{alignment: "right" if alignment == "ha" else "bottom"})
    plt.setp(axes.get_yticklabels(), rotation=90)
    axes.set_xlabel("position seen", fontsize=8, labelpad=-6)
    axes.set_ylabel("position that sees", fontsize=8, labelpad=-6)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_linewidth(0.5)
    title = name if way == "bidirectional" else f"{name}, causal"
    axes.set_title(title, fontsize=9, loc="left")
    past = " (so far)" if "causal" in title else ""
    caption = textwrap.fill(PATTERNS[name].words + past, 52)
    figure.text(0.5, 0.02, caption, fontsize=7, ha="center", color="0.3")
    figure.subplots_adjust(left=0.1, right=0.97, top=0.93, bottom=0.17)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def pictures() -> list[tuple[str, str]]:
    """(name, direction) of every picture."""
    undescribed = [name for name in ATTENTIONS if name not in PATTERNS]
    if undescribed:
        sys.exit(f"no words in PATTERNS for {', '.join(undescribed)}")
    return [
        (name, way)
        for name, pattern in PATTERNS.items()
        if (pattern.of or name) in ATTENTIONS
        for way in (("causal",) if pattern.both_ways else ATTENTIONS[pattern.of or name].directions)
    ]


def main() -> None:
    """Draw those named, or all."""
    chosen = sys.argv[1:]
    for name, way in pictures():
        if chosen and name not in chosen:
            continue
        causal = way == "causal" and not PATTERNS[name].both_ways
        path = IMAGES / f"attention-{name}{'-causal' if causal else ''}.png"
        draw(name, "bidirectional" if PATTERNS[name].both_ways else way, path)
        print(f"wrote {path.relative_to(IMAGES.parent.parent)}")


if __name__ == "__main__":
    main()
