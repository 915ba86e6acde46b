"""Presets: complete pretraining configurations, each returned by a function of its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from genomeformer_cli.core.data.masking import MaskingConfig
from genomeformer_cli.core.data.mixture import SamplingConfig
from genomeformer_cli.core.memory_plans.plans import MemoryConfig
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.objectives.distillation import TeacherConfig
from genomeformer_cli.core.proposals import look_up
from genomeformer_cli.core.training.config import TrainingConfig
from genomeformer_cli.core.training.loggers import LoggingConfig
from genomeformer_cli.core.training.parallel_config import ParallelConfig
from genomeformer_cli.core.training.precision import ComputeConfig


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Complete configuration of a pretraining run, without its corpus."""

    # Encoder; its `context` is the length of a training window.
    model: ModelConfig = field(default_factory=ModelConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)  # Masking of bases.
    # Sampling of training windows: mixture of groups, repeats.
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)  # Steps, optimizer, schedule.
    teacher: TeacherConfig = field(default_factory=TeacherConfig)  # Distillation.
    memory: MemoryConfig = field(default_factory=MemoryConfig)  # Memory plan of the gradients.
    compute: ComputeConfig = field(default_factory=ComputeConfig)  # Precision and compilation.


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(PretrainConfig):
    """Settings of `pretrain`: the configuration of the run, and of its execution.

    The execution does not change the result; a run may be resumed with another one.
    """

    # Number of processes and division of the work.
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)  # Services that show the run.


EXECUTION_SECTIONS = ("parallel", "logging")


def tiny() -> PretrainConfig:
    """0.8 million parameters, 256 bases of context: minutes on a laptop, to see that it works."""
    return PretrainConfig(
        model=ModelConfig(
            context=256, width=128, depth=4, num_heads=4, mlp_width=352, conv_width=5
        ),
        training=TrainingConfig(
            steps=1_200, batch_size=8, learning_rate=2e-3, validate_every=300, checkpoint_every=200
        ),
    )


def small() -> PretrainConfig:
    """3.2 million parameters, 512 bases of context: some hours on a laptop, a small model."""
    return PretrainConfig(
        model=ModelConfig(
            context=512, width=256, depth=4, num_heads=4, mlp_width=704, conv_width=5
        ),
        training=TrainingConfig(
            steps=40_000,
            batch_size=8,
            learning_rate=1e-3,
            validate_every=1_000,
            checkpoint_every=500,
        ),
    )


def stock_causal() -> PretrainConfig:
    """3.3 million parameters, 512 bases of context, opened by `Qwen3ForCausalLM`."""
    return _stock(direction="causal")


def stock_masked() -> PretrainConfig:
    """3.3 million parameters, 512 bases of context, opened by `EuroBertForMaskedLM`."""
    return _stock(direction="bidirectional", query_key_norm=False)


def _stock(**form: Any) -> PretrainConfig:
    """Return a softmax stack of a stock form: `release --as transformers`."""
    return PretrainConfig(
        model=ModelConfig(context=512, width=256, depth=4, num_heads=4, mlp_width=704, **form),
        training=TrainingConfig(
            steps=40_000,
            batch_size=8,
            learning_rate=1e-3,
            validate_every=1_000,
            checkpoint_every=500,
        ),
    )


def default() -> PretrainConfig:
    """Recipe of the bundled model: 7 million parameters, two tied stacks, patches of 8 bases."""
    return _surrounding(width=256, context=4_096, learning_rate=4e-3, steps=4_500)


def default_large() -> PretrainConfig:
    """27 million parameters, 8,192 bases of context: ten minutes on a large GPU."""
    return _surrounding(width=512, context=8_192, learning_rate=3e-3, steps=2_600)


def _surrounding(*, width: int, context: int, learning_rate: float, steps: int) -> PretrainConfig:
    """Return two tied stacks over patches, 262,144 bases per step, every row full."""
    return PretrainConfig(
        model=ModelConfig(
            context=context,
            width=width,
            depth=8,
            num_heads=width // 64,
            mlp_width=width * 11 // 4,
            conv_width=4,
            patch=8,
            direction="two-stack",
        ),
        training=TrainingConfig(
            steps=steps,
            batch_size=2**18 // context,
            pack="skip",
            optimizer="muon",
            learning_rate=learning_rate,
            warmup_share=0.02,
            decay_share=0.6,
            ema=0.998,
            validate_every=500,
            validation_windows=2**21 // context,
            validation_passes=1,
            checkpoint_every=250,
        ),
    )


def medium() -> PretrainConfig:
    """14 million parameters, 1,024 bases of context: days on a laptop, hours on a small GPU."""
    return PretrainConfig(
        model=ModelConfig(
            context=1_024, width=384, depth=8, num_heads=6, mlp_width=1_024, conv_width=5
        ),
        training=TrainingConfig(
            steps=40_000,
            batch_size=16,
            tokens_per_step=65_536,
            learning_rate=8e-4,
            validate_every=1_000,
            checkpoint_every=500,
        ),
    )


def base() -> PretrainConfig:
    """0.1 billion parameters, 8,192 bases of context: days on one large GPU."""
    return _long(width=768, depth=14, heads=12, mlp_width=2_048, learning_rate=6e-4)


def large() -> PretrainConfig:
    """0.3 billion parameters, 8,192 bases of context: several large GPUs."""
    return _long(width=1_024, depth=24, heads=16, mlp_width=2_816, learning_rate=4e-4)


def xl() -> PretrainConfig:
    """1 billion parameters, 8,192 bases of context: a cluster."""
    return _long(width=1_792, depth=26, heads=14, mlp_width=4_864, learning_rate=2e-4)


def _long(
    *, width: int, depth: int, heads: int, mlp_width: int, learning_rate: float
) -> PretrainConfig:
    return PretrainConfig(
        model=ModelConfig(
            context=8_192,
            width=width,
            depth=depth,
            num_heads=heads,
            mlp_width=mlp_width,
            conv_width=5,
        ),
        training=TrainingConfig(
            steps=100_000,
            batch_size=4,
            tokens_per_step=524_288,
            learning_rate=learning_rate,
            warmup_share=0.02,
            validate_every=1_000,
            checkpoint_every=500,
            keep_checkpoints=3,
        ),
    )


PRESETS: dict[str, Callable[[], PretrainConfig]] = {
    "tiny": tiny,
    "small": small,
    "stock-causal": stock_causal,
    "stock-masked": stock_masked,
    "default": default,
    "default-large": default_large,
    "medium": medium,
    "base": base,
    "large": large,
    "xl": xl,
}


def preset(name: str) -> PretrainConfig:
    """Return the configuration of that name.

    Raises:
        ConfigError: The name is unknown; the hint lists the known names.
    """
    return look_up(PRESETS, name, "preset")()
