"""Options of an embedding: layers, pooling, strands and windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, cast, get_args

from genomeformer_cli.core.annotation.sources import RegionConfig
from genomeformer_cli.core.configuration import check_range, check_whole
from genomeformer_cli.core.embedding.pools import Pool
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.formats.groups import GroupBy
from genomeformer_cli.core.model_io.embedding_rule import EmbeddingRule

if TYPE_CHECKING:
    from genomeformer_cli.core.model_io.model_folder import LoadedModel

Strands = Literal["none", "mean", "concat"]
PlotMethod = Literal["pca", "umap"]
Precision = Literal["float32", "float16", "float64"]
WHOLE = "whole"
AUTO: Literal["auto"] = "auto"
_LAYER_HINT = "give `last`, `mean`, `all`, or numbers such as `0,2,4`; 0 is the token embedding"


@dataclass(frozen=True, kw_only=True)
class EmbedOptions:
    """Options of the conversion of sequences to rows."""

    # Pooling over the real bases (A C G T) of a sequence, one row per sequence: `mean`, `max`,
    # `mean-max`, `moments` (mean and standard deviation), `words` (features of the positions of
    # each of 64 words of three bases), `bins` (means of eight equal parts), `first` or `last`;
    # `none`: one row per base. `auto`: pooling and layers that the model recommends, else the
    # mean; `auto:placed`, `auto:motif` and `auto:composition` are for labels that depend on a
    # motif at one place, on a motif anywhere, or on composition.
    pool: Pool = "auto"
    # `last`, `mean` (of all blocks), `all` (the embedding and every block) or numbers, with 0 for
    # the token embedding; several layers are concatenated. `auto`: the recommended layers of the
    # model for the pooling, else the last.
    layers: str = AUTO
    # Use of the reverse strand: `none`; `mean` of both strands; `concat`: both concatenated.
    rc: Strands = "none"
    # Maximum window of the model, in tokens; None: the context of its training; `whole`: no
    # windows, the model's state is passed along the sequence.
    window: int | Literal["whole"] | None = None
    # Tokens between window starts; None: non-overlapping windows of nearly equal length. In
    # overlapping windows, a token is read from the window with the most context around it.
    stride: int | None = None
    # Maximum batch size, padding included; None: suited to the device.
    tokens_per_batch: int | None = None

    def __post_init__(self) -> None:
        _check_choice(self.pool, Pool, "pooling")
        _check_choice(self.rc, Strands, "use of the other strand")
        _check_windows(self.window, self.stride)
        check_whole("tokens_per_batch", self.tokens_per_batch, 1)

    @classmethod
    def of_rule(cls, name: str) -> EmbedOptions:
        """Return the vectors that a model recommends under a name."""
        return cls(pool=cast(Pool, name if name == AUTO else f"{AUTO}:{name}"))

    @property
    def per_base(self) -> bool:
        """True if there is one row per base."""
        return self.pool == "none"

    def resolve(self, loaded: LoadedModel) -> EmbedOptions:
        """Replace `auto` by the recommended pooling and layers of a model.

        With `whole` windows only the last layer is available.

        Raises:
            ConfigError: The model has no such recommendation, or an invalid one.
        """
        rule = EmbeddingRule(layers=loaded.layers, pool=self.pool)
        if self.pool.startswith(AUTO):
            rule = _recommended(loaded, self.pool)
        layers = self.layers
        if layers == AUTO:
            layers = "last" if self.window == WHOLE else rule.layers
        return replace(self, layers=layers, pool=cast(Pool, rule.pool))

    def layer_numbers(self, depth: int) -> tuple[int, ...]:
        """Return the layer numbers for a model of `depth` blocks.

        Raises:
            ConfigError: A layer does not exist.
        """
        layers_by_name = {"last": (depth,), "mean": range(1, depth + 1), "all": range(depth + 1)}
        if self.layers in layers_by_name:
            return tuple(layers_by_name[self.layers])
        try:
            numbers = tuple(int(part) for part in self.layers.split(","))
        except ValueError:
            raise ConfigError(
                f"`{self.layers}` is not a list of layers", hint=_LAYER_HINT
            ) from None
        numbers = tuple(layer + depth + 1 if layer < 0 else layer for layer in numbers)
        if missing := [layer for layer in numbers if not 0 <= layer <= depth]:
            raise ConfigError(
                f"the model has layers 0 to {depth}, not {missing[0]}", hint=_LAYER_HINT
            )
        return numbers


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Settings of `embed`."""

    # Options of the conversion of sequences to rows.
    rows: EmbedOptions = field(default_factory=EmbedOptions)
    flank: int = 100  # Bases on each side of a variant.
    # Rarely changed rules of tiles.
    regions: RegionConfig = field(default_factory=RegionConfig)
    # Group of records that is a row with `--pool genome`: `genome` (a file or cached genome),
    # `record`, or `prefix` (of ids, up to `|`).
    group: GroupBy = GroupBy.GENOME
    # Fail before any work if a record would be a row of NaN or an id occurs twice.
    strict: bool = False
    dtype: Precision = "float32"  # Precision of the written numbers; computation is in float32.
    # GPUs of this machine, one process each; 0: the CPU; None: by `device`.
    gpus: int | None = None
    # Projection of the rows for a picture: principal components, or UMAP.
    plot_method: PlotMethod = "pca"
    # Colours of the picture: table with ids in its first column, and after `:` the column; None: no
    # colours.
    plot_colors: str | None = None

    def __post_init__(self) -> None:
        check_range("flank", self.flank, 0)
        check_range("gpus", self.gpus, 0)


def _recommended(loaded: LoadedModel, pool: str) -> EmbeddingRule:
    """Return the vectors that a model recommends."""
    name = pool.removeprefix(f"{AUTO}:")
    rules: Mapping[str, EmbeddingRule] = {
        AUTO: EmbeddingRule(layers=loaded.layers, pool="mean"),
        **loaded.rules,
    }
    if name not in rules:
        rule_names = ", ".join(f"`{AUTO}:{rule}`" for rule in loaded.rules if rule != AUTO)
        raise ConfigError(
            f"the model recommends no pooling `{pool}`",
            hint=f"choose one of {rule_names}"
            if rule_names
            else "leave `--pool` out, or give `mean`",
        )
    if rules[name].pool not in get_args(Pool) or rules[name].pool.startswith((AUTO, "none")):
        raise ConfigError(
            f"the model in `{loaded.folder}` recommends the unknown pooling `{rules[name].pool}`",
            hint="install a newer genomeformer, or give `--pool`",
        )
    return rules[name]


def _check_choice(value: str, allowed: object, setting: str) -> None:
    if value == "cls":
        raise ConfigError(
            "vectors are of bases: models of genomeformer have no [CLS] token, and those of other "
            "authors are read without the features of theirs",
            hint="`mean` is recommended; `first` takes the first base",
        )
    if value not in get_args(allowed):
        choices = ", ".join(f"`{choice}`" for choice in get_args(allowed))
        raise ConfigError(f"unknown {setting} `{value}`", hint=f"choose one of {choices}")


def _check_windows(window: int | str | None, stride: int | None) -> None:
    if isinstance(window, str) and window != WHOLE:
        raise ConfigError(
            f"invalid window `{window}`", hint="give a number of tokens, or `whole` for no windows"
        )
    if isinstance(window, int) and window < 1:
        raise ConfigError(
            f"invalid window of {window} tokens",
            hint="leave `--window` out, or raise it",
        )
    if not isinstance(window, str):
        check_whole("window", window, 1)
    check_whole("stride", stride, 1)
    if stride is None:
        return
    if window is None or isinstance(window, str):
        raise ConfigError(
            "a stride without a window length", hint="give the window too, as in `--window 512`"
        )
    if not 1 <= stride <= window:
        raise ConfigError(
            f"invalid stride {stride}: windows of {window} tokens would skip bases",
            hint=f"choose 1 to {window}",
        )
