"""Find the model that a user means, wherever it is.

default                          the bundle that came with the package
hf://ORG/NAME@REVISION#SHA256    a bundle on the Hub, fetched at one commit and checked
NAME.tar.gz                      an archive of a bundle
anything else                    a name in the cache or a folder: `core/model_io/find.py`
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from genomeformer_cli.core.errors import NotInCacheError
from genomeformer_cli.core.model_io.archive import SUFFIX, unpacked
from genomeformer_cli.core.model_io.find import find_model
from genomeformer_cli.core.model_io.hub import SCHEME, fetch_bundle, read_address
from genomeformer_cli.core.model_io.tensors import has_weights
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Kind, Store

DEFAULT_MODEL = "default"


def model_folder(model: str | None, *, store: Store, reporter: Reporter) -> Path:
    """The folder that holds the weights.

    Args:
        model: As a user names it; None: `default`.
        store: The cache.
        reporter: Is told by what address exactly a model of the Hub is found again.

    Raises:
        NotInCacheError: Nothing is called that; the hint lists what there is.
        CheckpointError: The folder holds no model.
        CorruptError: A checksum does not hold.
        NetworkError: It is on the Hub, and cannot be had.
    """
    folder = _resolve(model, store=store, reporter=reporter)
    reporter.debug(f"model: {folder}")
    return folder


def _resolve(model: str | None, *, store: Store, reporter: Reporter) -> Path:
    if model is None or model == DEFAULT_MODEL:
        return _bundled(store)
    if model.startswith(SCHEME):
        fetched = fetch_bundle(read_address(model), store)
        if fetched.address != model:
            reporter.note(f"model: {fetched.address}")
        return fetched.folder
    if model.endswith(SUFFIX) and Path(model).is_file():
        return unpacked(Path(model), store)
    return find_model(model, store=store, reporter=reporter)


def bundled_folder() -> Path:
    """Where the default model lies, or would lie, in the installed package."""
    return Path(str(resources.files("genomeformer_cli"))) / "assets" / "models" / DEFAULT_MODEL


def has_default() -> bool:
    """Whether a default model came with the package."""
    return has_weights(bundled_folder())


def _bundled(store: Store) -> Path:
    if has_default():
        return bundled_folder()
    known = [entry.name for kind in (Kind.WEIGHTS, Kind.RUNS) for entry in store.entries(kind)]
    hint = (
        "name one with `--model`: the cache holds " + ", ".join(f"`{one}`" for one in known)
        if known
        else "train one with `genomeformer fetch`, `tokenize` and `pretrain`, then name it with "
        "`--model`"
    )
    raise NotInCacheError("this installation came without a default model", hint=hint)
