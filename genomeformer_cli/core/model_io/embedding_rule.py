"""Vectors that a model recommends, as recorded in `config.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from genomeformer_cli.core.errors import ConfigError

# Recommendations: for any label, for a motif at one place, for a motif anywhere, for composition.
RULE_NAMES = ("auto", "placed", "motif", "composition")


@dataclass(frozen=True, kw_only=True)
class EmbeddingRule:
    """Recommended vectors of sequences."""

    layers: str = "last"  # Layers, in the syntax of `rows.layers` of `embed`.
    pool: str = "mean"  # Pooling.


@dataclass(frozen=True, kw_only=True)
class Recommended:
    """Recommended vectors of bases and of sequences."""

    layers: str = "last"  # Layers of the vectors of bases, and of sequences without a rule.
    rules: Mapping[str, EmbeddingRule] = field(default_factory=dict)  # Rules by name.

    @property
    def of_sequences(self) -> EmbeddingRule:
        """Default vectors of sequences."""
        return self.rules.get("auto", EmbeddingRule(layers=self.layers))


# Vectors of a model for which nothing was compared.
LAST_LAYER = Recommended()


def parse_recommended(texts: Sequence[str]) -> Recommended:
    """Parse layers, and rules such as `placed=0,3:bins`.

    Raises:
        ConfigError: A text is invalid, or two are for the same vectors.
    """
    layers, rules = [], {}
    for text in texts:
        name, equals, rule = text.partition("=")
        if not equals:
            layers.append(text)
            continue
        numbers, colon, pool = rule.partition(":")
        if name not in RULE_NAMES or not (numbers and colon and pool) or name in rules:
            names = ", ".join(f"`{name}`" for name in RULE_NAMES)
            raise ConfigError(
                f"invalid or repeated recommendation `{text}`",
                hint=f"give `NAME=LAYERS:POOL`, as in `placed=0,3:bins`; names are {names}",
            )
        rules[name] = EmbeddingRule(layers=numbers, pool=pool)
    if len(layers) > 1:
        raise ConfigError(
            f"`--layers {layers[0]}` and `--layers {layers[1]}` are for the same vectors",
            hint="give the layers of bases once, separated by commas",
        )
    return Recommended(layers=layers[0] if layers else "last", rules=rules)
