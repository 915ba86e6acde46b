"""Taxa of the Genome Taxonomy Database (GTDB): from names such as `g__Bacillus` to accessions.

`core/formats/gtdb.py` reads the files of a release; names and files: https://gtdb.ecogenomic.org.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.errors import InputError, NetworkError, UsageError
from genomeformer_cli.core.formats.accessions import read_accession
from genomeformer_cli.core.formats.gtdb import read_gtdb
from genomeformer_cli.core.genomes.download import Meter, download, part_path
from genomeformer_cli.core.genomes.transport import Transport
from genomeformer_cli.core.store.locks import hold_lock

GTDB = "gtdb"
FILES = ("bac120_metadata.tsv.gz", "ar53_metadata.tsv.gz")
# A release appears about once a year.
MAX_AGE = 30 * 24 * 3600
_TAXON = re.compile(r"[dpcofgs]__\S.*")


@dataclass(frozen=True, kw_only=True)
class GtdbGenomes:
    """Genomes of taxa."""

    accessions: tuple[str, ...]  # Assemblies at NCBI, in the order of the files.
    num_members: int  # Genomes of the taxa, representatives or not.
    num_elsewhere: int  # Chosen genomes that NCBI does not have.
    marks_representatives: bool  # False if a file does not say which genomes are representatives.


def find_genomes(
    paths: Sequence[Path],
    taxa: Sequence[str],
    *,
    without: Sequence[str] = (),
    representatives: bool = True,
) -> GtdbGenomes:
    """Find the genomes of taxa.

    Args:
        paths: Files of a release.
        taxa: Names with the prefix of their rank, such as `g__Bacillus`.
        without: Taxa to exclude.
        representatives: Choose the representative genome of each species only, if a file marks it.

    Raises:
        UsageError: A name has no prefix of a rank.
        InputError: A name is in none of the files, or a file has another layout.
        FormatError: A file is damaged.
    """
    for name in (*taxa, *without):
        if not _TAXON.fullmatch(name):
            raise UsageError(
                f"`{name}` is not a taxon of GTDB",
                hint="write the rank before the name, such as `g__Bacillus` or "
                "`s__Bacillus subtilis`",
            )
    chosen_taxa, excluded_taxa = set(taxa), set(without)
    accessions: dict[str, None] = {}
    known_names: set[str] = set()
    num_members = num_elsewhere = 0
    is_marked = True
    for row in (row for path in paths for row in read_gtdb(path)):
        known_names.update(row.lineage)
        if chosen_taxa.isdisjoint(row.lineage) or not excluded_taxa.isdisjoint(row.lineage):
            continue
        num_members += 1
        is_marked &= row.is_representative is not None
        if representatives and row.is_representative is False:
            continue
        accession = read_accession(row.accession)
        if accession is None:
            num_elsewhere += 1
        else:
            accessions[accession] = None
    for name in (*taxa, *without):
        if name not in known_names:
            near = difflib.get_close_matches(
                name, [text for text in known_names if text[0] == name[0]]
            )
            names = ", ".join(f"`{text}`" for text in near)
            raise InputError(
                f"the taxonomy has no taxon `{name}`",
                hint=f"did you mean {names}?" if near else "see https://gtdb.ecogenomic.org",
            )
    return GtdbGenomes(
        accessions=tuple(accessions),
        num_members=num_members,
        num_elsewhere=num_elsewhere,
        marks_representatives=is_marked,
    )


def fetch_metadata(
    transport: Transport | None, url: str, folder: Path, *, refresh: bool, meter: Meter
) -> list[Path]:
    """Return the metadata files of the newest release, from the cache if they are recent.

    Args:
        transport: HTTP transport; None if the cache only may be used.
        url: Address of the folder of the release.
        folder: Folder of the cache.
        refresh: Download the files again.
        meter: Receives progress.

    Raises:
        NetworkError: The host is not reachable; received bytes are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in FILES:
        path = folder / f"gtdb_{name}"
        with hold_lock(Path(f"{path}.lock")):
            is_recent = path.exists() and time.time() - path.stat().st_mtime < MAX_AGE
            if transport is not None and (refresh or not is_recent):
                part = part_path(folder, path.name)
                fetched = download(transport, f"{url.rstrip('/')}/{name}", part, meter=meter)
                for _ in read_gtdb(fetched.path):
                    pass
                fetched.path.replace(path)
                fetched.drop()
            elif not path.exists():
                raise NetworkError(
                    f"`{name}` is not in the cache", hint="run once without `--offline`"
                )
        paths.append(path)
    return paths
