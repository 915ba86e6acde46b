"""Models of other authors that are known: facts from `assets/known_models.toml`.

The file holds what was read of every model, and from where; a fact that is not there is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from genomeformer_cli.core.documents import convert, read_toml
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.proposals import propose

SCHEME = "hf://"
_FILE = Path(__file__).parents[1] / "assets" / "known_models.toml"


@dataclass(frozen=True, kw_only=True)
class KnownFamily:
    """Facts about all models of a family."""

    title: str  # Name of the family in its authors' words.
    tokens: str  # Kind of its tokens.
    pool: str  # Recommended pooling for embeddings.
    layers: str  # Recommended layers for embeddings.
    verified: tuple[str, ...]  # Code whose numbers the port has.
    letters: str | None = None  # Letters that the authors' code reads otherwise.


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """Entry of the file."""

    address: str
    sources: tuple[str, ...]
    family: str | None = None
    parameters: int | None = None
    tokens: str | None = None
    context: int | None = None
    bases: int | None = None
    licence: str | None = None
    weights: str | None = None
    refused: str | None = None
    note: str | None = None
    checksum: str | None = None


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """Facts about a model; None: unknown."""

    name: str  # Name on the Hub, without its owner.
    address: str  # Address for `--model`.
    family: str | None  # Family that reads it; None if it is refused.
    parameters: int | None  # Number of parameters.
    context: int | None  # Longest window in tokens.
    bases: int | None  # Longest window in bases.
    tokens: str | None  # Kind of its tokens.
    licence: str | None  # Licence of the weights.
    weights: str | None  # Form of the weights: `safetensors` or `pickle`.
    pool: str | None  # Recommended pooling for embeddings.
    layers: str | None  # Recommended layers for embeddings.
    verified: tuple[str, ...]  # Code whose numbers the port has.
    checksum: str | None  # Recorded checksum of `--verify`.
    letters: str | None  # Letters that the authors' code reads otherwise.
    refused: str | None  # Reason for which it is not read.
    note: str | None  # Further fact.
    sources: tuple[str, ...]  # Documents that state the facts.

    @property
    def names(self) -> tuple[str, str]:
        """Name without and with its owner, in lower case."""
        return self.name.lower(), self.address.removeprefix(SCHEME).lower()


@dataclass(frozen=True, kw_only=True)
class _File:
    families: Mapping[str, KnownFamily]
    models: tuple[_Entry, ...]


@cache
def _read() -> _File:
    file: _File = convert(read_toml(_FILE), _File, source=str(_FILE))
    return file


def known_families() -> Mapping[str, KnownFamily]:
    """Return the families, by name."""
    return _read().families


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Return all known models, those of one family beside each other."""
    return tuple(_join(entry) for entry in _read().models)


def _join(entry: _Entry) -> KnownModel:
    family = None if entry.family is None else known_families()[entry.family]
    return KnownModel(
        name=entry.address.rpartition("/")[2],
        address=SCHEME + entry.address,
        family=entry.family,
        parameters=entry.parameters,
        context=entry.context,
        bases=entry.bases,
        tokens=entry.tokens or (family.tokens if family else None),
        licence=entry.licence,
        weights=entry.weights,
        pool=family.pool if family else None,
        layers=family.layers if family else None,
        verified=family.verified if family else (),
        checksum=entry.checksum,
        letters=family.letters if family else None,
        refused=entry.refused,
        note=entry.note,
        sources=entry.sources,
    )


def known_addresses() -> tuple[str, ...]:
    """Return the addresses of the known models that are read."""
    return tuple(model.address for model in known_models() if model.refused is None)


def family_models(name: str) -> tuple[KnownModel, ...]:
    """Return the known models of a family; none if no family has the name."""
    return tuple(model for model in known_models() if model.family == name)


def find_known_model(name: str) -> KnownModel:
    """Return a known model.

    Args:
        name: Name with or without its owner, or address; upper and lower case are equal.

    Raises:
        UsageError: The name is unknown.
    """
    key = name.removeprefix(SCHEME).partition("@")[0].lower()
    for model in known_models():
        if key in model.names:
            return model
    raise UsageError(
        f"no known model `{name}`",
        hint=propose(
            key.rpartition("/")[2],
            [*known_families(), *(model.name for model in known_models())],
            otherwise="`genomeformer models` lists those of other authors; `--verify` reads any",
        ),
    )
