"""Output folders of bundles: what may be written there, and how a killed copy is completed."""

from __future__ import annotations

import shutil
from pathlib import Path

from genomeformer_cli.core.errors import CorruptError, StoreError
from genomeformer_cli.core.model_io.bundle_layout import is_bundle
from genomeformer_cli.core.store.atomic import atomic_folder
from genomeformer_cli.core.store.seal import check_seal, has_same_seal


def check_output(output: Path | None) -> None:
    """Check, before any work, that a bundle may be written to a folder.

    An existing bundle is compared by `copy_bundle`, once the new one is made.

    Raises:
        StoreError: The folder exists and is neither empty nor a bundle.
    """
    if output is None or not output.exists() or (output.is_dir() and is_bundle(output)):
        return
    if not output.is_dir() or any(output.iterdir()):
        raise _occupied(output)


def copy_bundle(bundle: Path, output: Path, *, replace: bool) -> None:
    """Copy a bundle to its output folder, unless the folder has the same contents already.

    Raises:
        StoreError: The folder holds another bundle and `replace` is false, or a write was refused.
    """
    if output.exists() and any(output.iterdir()):
        if _is_same(bundle, output):
            return
        if not replace:
            raise _occupied(output)
    with atomic_folder(output, replace=output.exists()) as folder:
        shutil.copytree(bundle, folder, dirs_exist_ok=True)


def _is_same(bundle: Path, output: Path) -> bool:
    """Compare seal and signature, and the files of the output with its seal."""
    try:
        check_seal(output)
    except CorruptError:
        return False
    return has_same_seal(bundle, output)


def _occupied(output: Path) -> StoreError:
    return StoreError(
        f"`{output}` exists and is not an empty folder",
        hint="choose another `-o`, or remove it first; `--replace` replaces a bundle",
    )
