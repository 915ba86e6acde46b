"""Find the model that a user names.

default                          default model of the package
hf://ORG/NAME@REVISION#SHA256    bundle, or model of other authors, on the Hub: downloaded at one
                                 commit and checked
NAME.tar.gz                      archive of a bundle
anything else                    name in the cache, or folder: see `core/model_io/find.py`
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.errors import NotInCacheError
from genomeformer_cli.core.model_io.archive import SUFFIX, unpack_archive
from genomeformer_cli.core.model_io.bundled import DEFAULT_MODEL, bundled_folder
from genomeformer_cli.core.model_io.find import cached_names, find_model
from genomeformer_cli.core.model_io.hub_client import SCHEME, read_address
from genomeformer_cli.core.model_io.hub_download import fetch_model
from genomeformer_cli.core.model_io.tensors import has_weights
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Store


@dataclass(frozen=True, kw_only=True)
class ResolvedModel:
    """Model that a user named."""

    folder: Path  # Folder that holds the weights.
    address: str  # On the Hub: exact address; of a local model: its name, without folders.


def resolve_model(model: str | None, *, store: Store, reporter: Reporter) -> ResolvedModel:
    """Return folder and address of a model.

    Args:
        model: Name, address, archive or folder; None: `default`.
        store: Cache.
        reporter: Receives the exact address of a model from the Hub.

    Raises:
        NotInCacheError: The name is unknown; the hint lists the known names.
        CheckpointError: The folder holds no model.
        CorruptError: A checksum differs.
        NetworkError: The model is on the Hub and cannot be downloaded.
    """
    resolved = _resolve(model, store=store, reporter=reporter)
    reporter.debug(f"model: {resolved.folder}")
    return resolved


def model_folder(model: str | None, *, store: Store, reporter: Reporter) -> Path:
    """Return the folder that holds the weights; see `resolve_model`."""
    return resolve_model(model, store=store, reporter=reporter).folder


def _resolve(model: str | None, *, store: Store, reporter: Reporter) -> ResolvedModel:
    if model is None or model == DEFAULT_MODEL:
        return ResolvedModel(folder=_bundled(store), address=DEFAULT_MODEL)
    if model.startswith(SCHEME):
        fetched = fetch_model(read_address(model), store)
        if fetched.address != model:
            reporter.note(f"model: {fetched.address}")
        return ResolvedModel(folder=fetched.folder, address=fetched.address)
    name = Path(model).name or Path(model).resolve().name
    if model.endswith(SUFFIX) and Path(model).is_file():
        return ResolvedModel(folder=unpack_archive(Path(model), store), address=name)
    return ResolvedModel(folder=find_model(model, store=store, reporter=reporter), address=name)


def has_default() -> bool:
    """Return True if the package contains a default model."""
    return has_weights(bundled_folder())


def _bundled(store: Store) -> Path:
    if has_default():
        return bundled_folder()
    names = cached_names(store)
    hint = (
        "name one with `--model`: the cache holds " + ", ".join(f"`{item}`" for item in names)
        if names
        else "train one with `genomeformer fetch`, `tokenize` and `pretrain`, then name it with "
        "`--model`"
    )
    raise NotInCacheError("this installation has no default model", hint=hint)
