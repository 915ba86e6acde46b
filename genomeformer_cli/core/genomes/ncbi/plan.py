"""What a fetch would bring: assemblies, bases, bytes; and whether the disk holds them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.errors import StoreError
from genomeformer_cli.core.genomes.ncbi.install import Installer
from genomeformer_cli.core.genomes.ncbi.paths import BYTES_PER_BASE
from genomeformer_cli.core.genomes.ncbi.remote_files import FetchItem

# Kept free beside the files: seals, descriptions, and room for everybody else.
_MARGIN = 256 << 20


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a fetch would bring.

    Attributes:
        num_assemblies: Chosen assemblies.
        num_present: How many of them are in the cache already.
        num_bases: Bases of all of them.
        num_bytes: Bytes yet to download; estimated from the bases, exact for a lock file.
        disk_needed: Bytes of disk for them.
        disk_free: Bytes free where the cache is.
        accessions: Which assemblies, best first.
    """

    num_assemblies: int
    num_present: int
    num_bases: int
    num_bytes: int
    disk_needed: int
    disk_free: int
    accessions: tuple[str, ...] = ()


def make_plan(orders: Sequence[FetchItem], installer: Installer) -> Plan:
    """Look at the cache and the disk; ask nobody."""
    missing = [order for order in orders if not installer.is_present(order)]
    per_base = sum(BYTES_PER_BASE[kind] for kind in installer.formats)
    num_bytes = 0
    for order in missing:
        if order.pinned:
            num_bytes += sum(file.num_bytes for file in order.pinned)
        else:
            num_bytes += int(order.assembly.num_bases * per_base)
    return Plan(
        num_assemblies=len(orders),
        num_present=len(orders) - len(missing),
        num_bases=sum(order.assembly.num_bases for order in orders),
        num_bytes=num_bytes,
        disk_needed=num_bytes + 8192 * len(missing),
        disk_free=shutil.disk_usage(_existing(installer.store.root)).free,
        accessions=tuple(order.assembly.accession for order in orders),
    )


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def check_space(plan: Plan) -> None:
    """Make sure that the disk holds it, before the first byte comes.

    Raises:
        StoreError: It does not.
    """
    if plan.num_bytes and plan.disk_needed + _MARGIN > plan.disk_free:
        needed, free = (plan.disk_needed + _MARGIN) / 1e9, plan.disk_free / 1e9
        raise StoreError(
            f"the download needs about {needed:.1f} GB of disk, and {free:.1f} GB are free",
            hint="free some space, set `GENOMEFORMER_HOME` to a larger disk, or use `--limit`",
        )
