"""Bundle: a model laid out as on the Hub; `model_io/bundle_layout` lists the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
from genomeformer_cli.core.model_io.embedding_rule import LAST_LAYER, Recommended
from genomeformer_cli.core.model_io.model_folder import CONFIG_FILE, describe_model
from genomeformer_cli.core.model_io.tensors import MAX_SHARD_BYTES, write_weights
from genomeformer_cli.core.models.protocol import ArchitectureConfig
from genomeformer_cli.core.release.eval_report import Picture
from genomeformer_cli.core.release.stock_layout import (
    complete_tokenizer,
    stock_config,
    stock_tensors,
)
from genomeformer_cli.core.release.storage import Storage
from genomeformer_cli.core.store.atomic import atomic_file, write_json, write_text
from genomeformer_cli.core.tokenizers.files import save_tokenizer
from genomeformer_cli.core.tokenizers.protocol import Tokenizer

Layout = Literal["genomeformer", "transformers"]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Model of a bundle."""

    config: ArchitectureConfig  # Configuration of the model.
    tokenizer: Tokenizer  # Tokenizer of the model.
    tensors: Mapping[str, Tensor]  # Tensors as stored.
    storage: Storage  # Precision of the stored tensors.
    digest: str  # Digest of the weights after loading.
    which: str  # Weights of the run, in words.
    recommended: Recommended = LAST_LAYER  # Defaults of `embed`.
    layout: Layout = "genomeformer"  # Names of settings and tensors.


@dataclass(frozen=True, kw_only=True)
class Papers:
    """Texts of a bundle."""

    name: str  # Name of the model.
    card: str  # README.md.
    results: Mapping[str, object]  # Values of `eval_results.json`.
    train_config: str  # TOML.
    genomes: Sequence[LockRow]  # Genomes of the corpus.
    citation: str  # CITATION.cff.
    licence: str  # SPDX id.
    licence_text: str  # LICENSE.
    pictures: Sequence[Picture] = ()  # Pictures of the card.


def write_bundle(
    folder: Path, weights: Weights, papers: Papers, *, max_shard_bytes: int = MAX_SHARD_BYTES
) -> None:
    """Write a bundle into an empty folder, which the caller seals.

    Raises:
        StoreError: The system refused a write.
    """
    described, tensors = _laid_out(weights)
    metadata = {
        "genomeformer_version": __version__,
        "licence": papers.licence,
        "model_type": described["model_type"],
        "name": papers.name,
        "stored_as": weights.storage.name,
        "weights": weights.which,
        "weights_digest": weights.digest,
    }
    write_weights(tensors, folder, metadata=metadata, max_shard_bytes=max_shard_bytes)
    write_json(folder / CONFIG_FILE, described)
    save_tokenizer(weights.tokenizer, folder)
    if weights.layout == "transformers":
        complete_tokenizer(folder, weights.config.context)
    write_text(folder / CARD_FILE, papers.card)
    write_json(folder / RESULTS_FILE, papers.results)
    write_text(folder / TRAIN_CONFIG_FILE, papers.train_config)
    write_lock(folder / LOCK_NAME, papers.genomes)
    write_text(folder / CITATION_FILE, papers.citation)
    write_text(folder / LICENCE_FILE, papers.licence_text)
    for picture in papers.pictures:
        with atomic_file(folder / PICTURES / picture.name) as file:
            file.write(picture.content)


def _laid_out(weights: Weights) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """Return `config.json` and the tensors under the names of the layout."""
    stored = weights.storage.plain()
    if weights.layout == "transformers":
        described = stock_config(weights.config, weights.tokenizer, str(stored["dtype"]))
        return described, stock_tensors(weights.tensors)
    described = describe_model(weights.config, weights.recommended)
    return {**described, **stored}, weights.tensors
