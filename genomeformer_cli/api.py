"""Python API: `load` a model to embed sequences, and a scikit-learn transformer."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.module import EmbeddingModule
from genomeformer_cli.core.embedding.options import AUTO, EmbedOptions
from genomeformer_cli.core.errors import InputError
from genomeformer_cli.core.model_io.bundled import DEFAULT_MODEL
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import Codes, encode_bases
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.devices import choose_device

Floats = npt.NDArray[np.float32]


def load(model: str | Path = DEFAULT_MODEL, *, device: str = "auto") -> EmbeddingModel:
    """Load a model for embedding.

    Args:
        model: Bundle, run or checkpoint folder, archive, name in the cache, `hf://ORG/NAME`, or
            `default`, the model in the package.
        device: `auto`, `cpu`, or a torch device.

    Raises:
        NotInCacheError, CheckpointError, CorruptError: The model cannot be used.
        NetworkError: The Hub cannot be reached.
    """
    loaded = read_model(model_folder(str(model), store=Store(), reporter=SilentReporter()))
    loaded.model.to(choose_device(device))
    return EmbeddingModel(loaded)


class EmbeddingModel:
    """Loaded model.

    Attributes:
        loaded: Torch model, tokenizer and folder.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded

    def embed(self, sequences: Iterable[str], **choices: Any) -> Floats | list[Floats]:
        """Return vectors of DNA sequences.

        Args:
            sequences: DNA in upper or lower case, with IUPAC codes.
            choices: `pool`, `layers`, `rc`, `window`, `stride`, `tokens_per_batch`: see
                `EmbedOptions`.

        Returns:
            Array (N, width), one row per sequence in input order, NaN for sequences without real
            bases; with `pool="none"` a list with one array (bases, width) per sequence.

        Raises:
            AlphabetError: A sequence holds a character that is not a nucleotide code.
            ConfigError: The model does not support the options.
        """
        embedder = Embedder(self.loaded, EmbedOptions(**choices))
        codes = base_codes(sequences)
        if not embedder.options.per_base:
            return embedder.embed(codes)
        rows = np.empty(
            (sum(sequence.size for sequence in codes), embedder.width), dtype=np.float32
        )
        embedder.embed_bases(codes, rows)
        return (
            np.split(rows, np.cumsum([sequence.size for sequence in codes])[:-1]) if codes else []
        )

    def module(self, *, pool: str = "mean", layers: str = AUTO) -> EmbeddingModule:
        """Return the model as a torch module for fine-tuning, with shared weights."""
        return EmbeddingModule(self.loaded, pool=pool, layers=layers)


def base_codes(sequences: Iterable[str]) -> list[Codes]:
    """Encode DNA as base codes.

    Raises:
        InputError: A single sequence is given instead of several.
        AlphabetError: A sequence holds a character that is not a nucleotide code.
    """
    if isinstance(sequences, str | bytes):
        raise InputError(
            "expected a list of sequences, got one string", hint='give a list: `["ACGT"]`'
        )
    return [
        encode_bases(sequence, where=f"sequence {number}")
        for number, sequence in enumerate(sequences)
    ]


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
    """

    model: str | Path = DEFAULT_MODEL
    _: KW_ONLY
    pool: str = "mean"
    layers: str = AUTO
    rc: str = "none"
    window: int | str | None = None
    stride: int | None = None
    tokens_per_batch: int | None = None
    device: str = "auto"

    def fit(self, X: Sequence[str], y: object = None) -> GenomeEmbedder:
        """Load the model; no parameters are fitted."""
        del X, y
        self.model_ = load(self.model, device=self.device)
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
        return EmbedOptions(**{k: settings[k] for k in settings if k not in ("model", "device")})

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
