"""Lineages of fetched assemblies, so that the cache can select genomes by higher taxa."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from genomeformer_cli.core.errors import GenomeformerError
from genomeformer_cli.core.genomes.ncbi.install import Installer
from genomeformer_cli.core.genomes.ncbi.metadata import Metadata
from genomeformer_cli.core.genomes.ncbi.remote_files import FetchItem
from genomeformer_cli.core.reporting import Reporter


def with_lineages(
    items: Sequence[FetchItem], installer: Installer, metadata: Metadata, reporter: Reporter
) -> list[FetchItem]:
    """Add lineages to the items that are not in the cache yet.

    A fetch does not fail for a missing lineage; a warning is logged instead.
    """
    absent = [not installer.is_present(item) for item in items]
    taxids = {
        item.assembly.taxid for item, is_absent in zip(items, absent, strict=True) if is_absent
    }
    if not taxids:
        return list(items)
    try:
        lineages = metadata.lineages(taxids)
    except GenomeformerError as failure:
        reporter.warn(
            f"lineages are unavailable ({failure.message}); `tokenize --taxon` will find these "
            "genomes by their own names and taxids only"
        )
        return list(items)
    return [replace(item, lineage=lineages.get(item.assembly.taxid, ())) for item in items]
