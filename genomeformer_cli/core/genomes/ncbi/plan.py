"""Size of a planned fetch (assemblies, bases, bytes), and the check for free disk space."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.errors import StoreError
from genomeformer_cli.core.genomes.ncbi.install import Installer
from genomeformer_cli.core.genomes.ncbi.paths import BYTES_PER_BASE
from genomeformer_cli.core.genomes.ncbi.remote_files import FetchItem

# Kept free beside the files: seals, descriptions, and other users of the disk.
_MARGIN = 256 << 20


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Size of a planned fetch."""

    num_assemblies: int  # Number of selected assemblies.
    num_present: int  # Number of selected assemblies that are cached.
    num_bases: int  # Total number of bases.
    num_bytes: int  # Bytes to download; estimated from the bases, exact for a lock file.
    disk_needed: int  # Bytes of disk needed.
    disk_free: int  # Bytes of disk free at the cache.
    accessions: tuple[str, ...] = ()  # Accessions, best first.


def make_plan(items: Sequence[FetchItem], installer: Installer) -> Plan:
    """Compare the items with the cache and the disk, without any request."""
    missing = [item for item in items if not installer.is_present(item)]
    per_base = sum(BYTES_PER_BASE[kind] for kind in installer.formats)
    num_bytes = 0
    for item in missing:
        if item.pinned:
            num_bytes += sum(file.num_bytes for file in item.pinned)
        else:
            num_bytes += int(item.assembly.num_bases * per_base)
    return Plan(
        num_assemblies=len(items),
        num_present=len(items) - len(missing),
        num_bases=sum(item.assembly.num_bases for item in items),
        num_bytes=num_bytes,
        disk_needed=num_bytes + 8192 * len(missing),
        disk_free=shutil.disk_usage(_existing(installer.store.root)).free,
        accessions=tuple(item.assembly.accession for item in items),
    )


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def check_space(plan: Plan) -> None:
    """Check that the disk can hold the download.

    Raises:
        StoreError: There is too little free space.
    """
    if plan.num_bytes and plan.disk_needed + _MARGIN > plan.disk_free:
        needed, free = (plan.disk_needed + _MARGIN) / 1e9, plan.disk_free / 1e9
        raise StoreError(
            f"the download needs about {needed:.1f} GB of disk, and {free:.1f} GB are free",
            hint="free some space, set `GENOMEFORMER_HOME` to a larger disk, or use `--limit`",
        )
