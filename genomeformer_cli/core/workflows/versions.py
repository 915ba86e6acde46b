"""Versions of the package, its libraries and its model, without importing the libraries."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata

from genomeformer_cli._version import __version__
from genomeformer_cli.core.store.seal import SEAL, file_sha256


@dataclass(frozen=True, kw_only=True)
class BundledModel:
    """Model of the installed package."""

    name: str  # Name for `--model`.
    digest: str  # SHA-256 of its list of checksums.


@dataclass(frozen=True, kw_only=True)
class Versions:
    """Versions that a bug report needs."""

    genomeformer: str  # Version of this package.
    python: str  # Version of the interpreter.
    torch: str | None  # Version of the distribution and its build; None if missing.
    numpy: str | None  # Version; None if missing.
    tokenizers: str | None  # Version; None if missing.
    safetensors: str | None  # Version; None if missing.
    model: BundledModel | None  # Model of the package; None if the installation lacks it.


def collect_versions() -> Versions:
    """Read all versions from the metadata of the installed distributions."""
    return Versions(
        genomeformer=__version__,
        python=platform.python_version(),
        torch=installed_version("torch"),
        numpy=installed_version("numpy"),
        tokenizers=installed_version("tokenizers"),
        safetensors=installed_version("safetensors"),
        model=bundled_model(),
    )


def version_texts() -> dict[str, str]:
    """Return the versions of the program, Python and the installed libraries, by name."""
    versions = collect_versions()
    names = ("genomeformer", "python", "torch", "numpy", "tokenizers", "safetensors")
    texts = {name: getattr(versions, name) for name in names}
    return {name: text for name, text in texts.items() if text is not None}


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def bundled_model() -> BundledModel | None:
    """Return the name and digest of the package's model, or None if it has none."""
    from genomeformer_cli.core.model_io.bundled import DEFAULT_MODEL, bundled_folder

    folder = bundled_folder()
    if not (folder / SEAL).is_file():
        return None
    return BundledModel(name=DEFAULT_MODEL, digest=file_sha256(folder / SEAL))
