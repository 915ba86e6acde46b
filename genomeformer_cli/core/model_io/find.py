"""Find a model by name or folder: a run, a checkpoint, a bundle, or a name in the cache.

A folder may also hold a model of other authors in their layout; pickled weights are converted once.
"""

from __future__ import annotations

from pathlib import Path

from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import CheckpointError, NotInCacheError
from genomeformer_cli.core.escaping import excerpt
from genomeformer_cli.core.model_io.published_copy import converted_copy, needs_conversion
from genomeformer_cli.core.model_io.rotation import newest_valid_checkpoint
from genomeformer_cli.core.model_io.tensors import has_weights
from genomeformer_cli.core.proposals import propose
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import RUN_IDENTITY_FILE, Kind, Store


def find_model(model: str, *, store: Store, reporter: Reporter) -> Path:
    """Return the folder that holds the weights.

    Args:
        model: Name of released weights or of a run in the cache, otherwise a folder (bundle,
            checkpoint or run); `./NAME` is always a folder.
        store: Cache.
        reporter: Receives a warning for each damaged checkpoint that is skipped.

    Raises:
        NotInCacheError: The name is unknown; the hint lists the known names.
        CheckpointError: The folder holds no model.
    """
    folder = _cached(model, store) or Path(model)
    if not folder.is_dir():
        raise _unknown(model, store)
    if has_weights(folder):
        return folder
    if needs_conversion(folder):
        return converted_copy(folder, store)
    newest = newest_valid_checkpoint(folder, reporter)
    if newest is None:
        raise _without_weights(model, folder)
    return newest


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _without_weights(model: str, folder: Path) -> CheckpointError:
    try:
        identity = read_json(folder / RUN_IDENTITY_FILE)
    except DocumentError:
        broken_links = [path.name for path in sorted(folder.iterdir()) if _leads_nowhere(path)]
        if broken_links:
            return CheckpointError(
                f"`{model}` holds links to files that do not exist: "
                + ", ".join(f"`{excerpt(name)}`" for name in broken_links[:4]),
                hint="copy the files themselves, as by `cp -L`; a folder of the Hub's cache holds "
                "links to its `blobs`",
            )
        return CheckpointError(
            f"`{model}` holds no weights", hint="give a bundle, a run with a checkpoint, or a name"
        )
    # The models of fine-tuning lie among the weights, under the name of the run.
    command = "finetune" if "task" in identity else "pretrain"
    return CheckpointError(
        f"the run `{model}` holds no weights: it is not finished, or its model was removed",
        hint=f"run the same `genomeformer {command}` command again; it resumes where it stopped",
    )


def _cached(name: str, store: Store) -> Path | None:
    kinds = (kind for kind in (Kind.WEIGHTS, Kind.RUNS) if store.has(kind, name))
    return next((store.path(kind, name) for kind in kinds), None)


def cached_names(store: Store) -> list[str]:
    """Return the names of the models and runs of the cache, each once."""
    kinds = (Kind.WEIGHTS, Kind.RUNS)
    return list(dict.fromkeys(entry.name for kind in kinds for entry in store.entries(kind)))


def _unknown(name: str, store: Store) -> NotInCacheError:
    names = cached_names(store)
    hint = (
        "the cache holds " + ", ".join(f"`{item}`" for item in names)
        if names
        else "train one with `genomeformer pretrain`"
    )
    from genomeformer_cli.core.known_models import known_models

    on_hub = [
        model.address
        for model in known_models()
        if model.refused is None and name.lower() in model.names
    ]
    if on_hub:
        hint = f"on the Hub it is `{on_hub[0]}`"
    return NotInCacheError(
        f"no model `{name}`: neither a folder nor a name in the cache",
        hint=hint if on_hub else propose(name, [*names, "default"], otherwise=hint),
    )
