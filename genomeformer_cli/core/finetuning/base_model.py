"""Base model of a fine-tuned one: address, family, commit and licence.

A fine-tuned model is derived from its base, whose licence it carries. The licence is read from the
front matter of the base's model card, or from the table of known models.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.configuration import from_plain
from genomeformer_cli.core.documents import DocumentError, read_json
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.known_models import find_known_model
from genomeformer_cli.core.model_io.bundle_layout import CARD_FILE
from genomeformer_cli.core.model_io.hub_client import SCHEME, read_address
from genomeformer_cli.core.model_io.model_folder import (
    CONFIG_FILE,
    LoadedModel,
    is_published,
    weights_digest,
)
from genomeformer_cli.core.models.genomeformer.config import ModelConfig
from genomeformer_cli.core.models.registry import find_family, model_type

BASE = "base"  # Entry of `config.json`.
_UNSTATED = ("other", "unknown")
_MAX_CARD_CHARACTERS = 1 << 16
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """Model before fine-tuning."""

    address: str  # Address for `--model`: of the Hub with its commit, or the name of a local model.
    family: str  # Family of the published layout, or architecture of this program.
    weights_sha256: str  # Digest of the weights, see `weights_digest`.
    is_own: bool  # True if this program trained the model from the start.
    commit: str | None = None  # Commit of the repository on the Hub; None of a local model.
    licence: str | None = None  # Licence id, lower case; None: not stated.

    @property
    def repository(self) -> str | None:
        """Repository on the Hub, `ORG/NAME`; None of a local model."""
        is_remote = self.address.startswith(SCHEME)
        return read_address(self.address).repository if is_remote else None


def describe_base(loaded: LoadedModel, address: str) -> BaseModel:
    """Return what a fine-tuned model records of its base.

    Args:
        loaded: Base model.
        address: Exact address on the Hub, or the name as given to `--model`, without folders.
    """
    folder, config = loaded.folder, loaded.model.config
    previous = read_base(folder)
    plain = read_json(folder / CONFIG_FILE)
    family = find_family(plain).name if is_published(plain) else model_type(config)
    is_own = isinstance(config, ModelConfig)
    if previous is not None:
        family, is_own = previous.family, previous.is_own
    licence = find_licence(folder, address)
    if licence is None and previous is not None:
        licence = previous.licence
    revision = read_address(address).revision if address.startswith(SCHEME) else ""
    return BaseModel(
        address=address,
        family=family,
        commit=revision if _COMMIT.fullmatch(revision) else None,
        licence=licence,
        weights_sha256=weights_digest(loaded.model),
        is_own=is_own,
    )


def read_base(folder: Path) -> BaseModel | None:
    """Return the base of the fine-tuned model in a folder; None of other models.

    Raises:
        ConfigError: The entry of `config.json` is invalid.
    """
    try:
        plain = read_json(folder / CONFIG_FILE).get(BASE)
    except DocumentError:
        return None
    if not isinstance(plain, dict) or "address" not in plain:
        return None
    return from_plain(BaseModel, plain, where=str(folder / CONFIG_FILE))


def card_licence(folder: Path) -> str | None:
    """Return the licence in the front matter of a model card; None if it is not stated."""
    try:
        with (folder / CARD_FILE).open(encoding="utf-8", errors="replace") as file:
            lines = file.read(_MAX_CARD_CHARACTERS).splitlines()
    except OSError:
        return None
    if not lines or lines[0].strip() != "---":
        return None
    head = lines[1 : lines.index("---", 1)] if "---" in lines[1:] else []
    stated = {}
    for line in head:
        key, separator, value = line.partition(":")
        if separator and key in ("license", "license_name"):
            stated[key] = value.strip().strip("'\"").lower()
    licence = stated.get("license", "")
    if licence in _UNSTATED:
        licence = stated.get("license_name", "")
    return licence if licence and licence not in _UNSTATED else None


def find_licence(folder: Path, address: str) -> str | None:
    """Return the licence of a model: of its card, else of the table of known models.

    Args:
        folder: Folder of the model.
        address: Address on the Hub, or the name of a local model.
    """
    return card_licence(folder) or _known_licence(address)


def _known_licence(address: str) -> str | None:
    if not address.startswith(SCHEME):
        return None
    try:
        entry = find_known_model(read_address(address).repository)
    except UsageError:
        return None
    return entry.licence.lower() if entry.licence else None


def is_non_commercial(licence: str) -> bool:
    """Return True if a licence forbids commercial use by its id, such as `cc-by-nc-4.0`."""
    return "nc" in licence.lower().split("-")
