"""Known models of other authors, and the check of one of them against recorded numbers."""

from __future__ import annotations

from dataclasses import dataclass

from genomeformer_cli.core.embedding.checksum import (
    ModelChecksum,
    compute_checksum,
    sequences_of,
)
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.known_models import find_known_model
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.store.layout import Store


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """Model to check."""

    model: str  # Address on the Hub, name or folder.


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Checksum of a model, beside the recorded one."""

    model: str  # Address, name or folder.
    recorded: str | None  # Recorded checksum; None: nobody recorded one.
    agrees: bool | None  # True if both are equal; None without a recorded one.
    result: ModelChecksum
    sequences: tuple[str, ...]  # Sequences that the numbers belong to.


def verify_model(
    request: VerifyRequest, *, reporter: Reporter, store: Store | None = None
) -> Verification:
    """Compute the checksum of a model and compare it with the recorded one.

    Raises:
        NotInCacheError: The name is unknown.
        NetworkError: The model is on the Hub and cannot be downloaded.
        CheckpointError: The folder holds no model that can be read.
        ConfigError: A setting of the model is not implemented.
    """
    loaded = read_model(model_folder(request.model, store=store or Store(), reporter=reporter))
    loaded.model.float()
    result = compute_checksum(loaded)
    recorded = _recorded(request.model)
    return Verification(
        model=request.model,
        recorded=recorded,
        agrees=None if recorded is None else recorded == result.checksum,
        result=result,
        sequences=sequences_of(loaded),
    )


def _recorded(model: str) -> str | None:
    try:
        return find_known_model(model).checksum
    except UsageError:
        return None
