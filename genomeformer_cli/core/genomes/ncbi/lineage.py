"""Where the assemblies of a fetch stand in the taxonomy, so that the cache knows families too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from genomeformer_cli.core.errors import GenomeformerError
from genomeformer_cli.core.genomes.ncbi.install import Installer
from genomeformer_cli.core.genomes.ncbi.metadata import Metadata
from genomeformer_cli.core.genomes.ncbi.remote_files import FetchItem
from genomeformer_cli.core.reporting import Reporter


def with_lineages(
    orders: Sequence[FetchItem], installer: Installer, metadata: Metadata, reporter: Reporter
) -> list[FetchItem]:
    """Orders that know their lineage, but for those whose genomes are in the cache already.

    A fetch does not fail for want of it: what cannot be had is left out, and said.
    """
    absent = [not installer.is_present(order) for order in orders]
    wanted = {
        order.assembly.taxid for order, fetched in zip(orders, absent, strict=True) if fetched
    }
    if not wanted:
        return list(orders)
    try:
        lineages = metadata.lineages(wanted)
    except GenomeformerError as failure:
        reporter.warn(
            f"no lineages to be had ({failure.message}); `tokenize --taxon` will know these "
            "genomes by their own names and taxids alone"
        )
        return list(orders)
    return [replace(order, lineage=lineages.get(order.assembly.taxid, ())) for order in orders]
