"""scikit-learn transformer from DNA to vectors.

It follows the interface of scikit-learn without importing it.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from genomeformer_cli.api import Floats, load
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.options import AUTO, EmbedOptions
from genomeformer_cli.core.embedding.pools import Pool
from genomeformer_cli.core.inference.precision import PrecisionName
from genomeformer_cli.core.model_io.bundled import DEFAULT_MODEL


@dataclass(eq=False)
class GenomeEmbedder:
    """Transformer from DNA to vectors for a scikit-learn `Pipeline`.

    Args:
        model: Model, as for `load`.
        pool: Pooling of positions, see `EmbedOptions`.
        layers: Layers whose features are used.
        rc: Use of the reverse complement: `none`, `mean` or `concat`.
        window: Longest window in bases.
        stride: Distance between windows.
        tokens_per_batch: Largest number of tokens per batch.
        device: `auto`, `cpu`, or a torch device.
        precision: Precision of matrix products: `fp32`, `bf16`, `int8`, or `auto` as in `embed`.
    """

    model: str | Path = DEFAULT_MODEL
    _: KW_ONLY
    pool: Pool = AUTO
    layers: str = AUTO
    rc: str = "none"
    window: int | str | None = None
    stride: int | None = None
    tokens_per_batch: int | None = None
    device: str = "auto"
    precision: PrecisionName = "fp32"

    def fit(self, X: Sequence[str], y: object = None) -> GenomeEmbedder:
        """Load the model; no parameters are fitted."""
        del X, y
        self.model_ = load(self.model, device=self.device, precision=self.precision)
        self.n_features_out_ = Embedder(self.model_.loaded, self._choices()).width
        return self

    def transform(self, X: Sequence[str]) -> Floats:
        """Return vectors, one row per sequence."""
        if not hasattr(self, "model_"):
            self.fit(X)
        return cast(Floats, self.model_.embed(X, **vars(self._choices())))

    def fit_transform(self, X: Sequence[str], y: object = None) -> Floats:
        """Load the model and return vectors, one row per sequence."""
        return self.fit(X, y).transform(X)

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[Any]:
        """Return the names of the columns."""
        del input_features
        return np.array([f"e{column}" for column in range(self.n_features_out_)], dtype=object)

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - its signature
        """Return the settings."""
        del deep
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **settings: Any) -> GenomeEmbedder:
        """Change settings.

        Raises:
            ValueError: A setting does not exist, as scikit-learn expects.
        """
        for name, value in settings.items():
            if name not in self.get_params():
                raise ValueError(f"GenomeEmbedder has no setting `{name}`")
            setattr(self, name, value)
        return self

    def _choices(self) -> EmbedOptions:
        settings = self.get_params()
        constructor_names = ("model", "device", "precision")
        return EmbedOptions(**{k: settings[k] for k in settings if k not in constructor_names})

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = importlib.import_module("sklearn.utils")
        return tags.Tags(
            estimator_type=None,
            target_tags=tags.TargetTags(required=False),
            transformer_tags=tags.TransformerTags(preserves_dtype=[]),
            input_tags=tags.InputTags(
                one_d_array=True, two_d_array=False, string=True, allow_nan=False
            ),
            requires_fit=False,
        )

    def __repr__(self) -> str:
        parameters = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"GenomeEmbedder({parameters})"
