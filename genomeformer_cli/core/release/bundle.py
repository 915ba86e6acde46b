"""Bundle: a model laid out as on the Hub; `model_io/bundle_layout` lists the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from genomeformer_cli._version import __version__
from genomeformer_cli.core.genomes.lockfile import LOCK_NAME, LockRow, write_lock
from genomeformer_cli.core.model_io.bundle_layout import (
    CARD_FILE,
    CITATION_FILE,
    LICENCE_FILE,
    PICTURES,
    RESULTS_FILE,
    TRAIN_CONFIG_FILE,
)
from genomeformer_cli.core.model_io.model_folder import CONFIG_FILE, describe_model
from genomeformer_cli.core.model_io.tensors import MAX_SHARD_BYTES, write_weights
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import model_type
from genomeformer_cli.core.release.eval_report import Picture
from genomeformer_cli.core.release.storage import Storage
from genomeformer_cli.core.store.atomic import atomic_file, write_json, write_text
from genomeformer_cli.core.tokenizers.files import save_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Model of a bundle.

    Attributes:
        config: Configuration of the model.
        tokenizer: Tokenizer of the model.
        tensors: Tensors as stored.
        storage: Precision of the stored tensors.
        digest: Digest of the weights after loading.
        which: Weights of the run, in words.
        layers: Default layers of `embed`.
    """

    config: ModelConfig
    tokenizer: Tokenizer
    tensors: Mapping[str, Tensor]
    storage: Storage
    digest: str
    which: str
    layers: str = "last"


@dataclass(frozen=True, kw_only=True)
class Papers:
    """Texts of a bundle.

    Attributes:
        name: Name of the model.
        card: README.md.
        results: Values of `eval_results.json`.
        train_config: TOML.
        genomes: Genomes of the corpus.
        citation: CITATION.cff.
        licence: SPDX id.
        licence_text: LICENSE.
        pictures: Pictures of the card.
    """

    name: str
    card: str
    results: Mapping[str, object]
    train_config: str
    genomes: Sequence[LockRow]
    citation: str
    licence: str
    licence_text: str
    pictures: Sequence[Picture] = ()


def write_bundle(
    folder: Path, weights: Weights, papers: Papers, *, max_shard_bytes: int = MAX_SHARD_BYTES
) -> None:
    """Write a bundle into an empty folder, which the caller seals.

    Raises:
        StoreError: The system refused a write.
    """
    metadata = {
        "genomeformer_version": __version__,
        "licence": papers.licence,
        "model_type": model_type(weights.config),
        "name": papers.name,
        "stored_as": weights.storage.name,
        "weights": weights.which,
        "weights_digest": weights.digest,
    }
    write_weights(weights.tensors, folder, metadata=metadata, max_shard_bytes=max_shard_bytes)
    described = describe_model(weights.config, layers=weights.layers)
    write_json(folder / CONFIG_FILE, {**described, **weights.storage.plain()})
    save_tokenizer(weights.tokenizer, folder)
    write_text(folder / CARD_FILE, papers.card)
    write_json(folder / RESULTS_FILE, papers.results)
    write_text(folder / TRAIN_CONFIG_FILE, papers.train_config)
    write_lock(folder / LOCK_NAME, papers.genomes)
    write_text(folder / CITATION_FILE, papers.citation)
    write_text(folder / LICENCE_FILE, papers.licence_text)
    for picture in papers.pictures:
        with atomic_file(folder / PICTURES / picture.name) as file:
            file.write(picture.content)
