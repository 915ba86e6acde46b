"""How an array was made, as JSON beside it: enough to make it again, and to know a job again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomeformer_cli._version import __version__
from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.model_io.tensors import weights_sha256
from genomeformer_cli.core.tokenizers.protocol import vocabulary_sha256
from genomeformer_cli.core.workflows.embed_sources import EmbedSources, Look

if TYPE_CHECKING:
    from genomeformer_cli.core.workflows.embed import EmbedRequest

_MERGE = {
    None: "a token is taken from the window in which it stands further from an edge",
    "whole": "none: the state is passed along the sequence",
}


def sidecar(output: Path) -> Path:
    """The file beside the array that says how it was made."""
    return output.with_name(f"{output.name}.json")


def describe(request: EmbedRequest, embedder: Embedder, look: Look) -> dict[str, Any]:
    """What decides the numbers, as JSON."""
    loaded: LoadedModel = embedder.loaded
    choices = request.choices
    sources = look.identities or [(name, 0, 0) for name in request.sources.files]
    window: int | str = "whole" if embedder.is_whole else embedder.window
    return {
        "genomeformer_version": __version__,
        "model": loaded.folder.name,
        "model_sha256": weights_sha256(loaded.folder),
        "vocabulary_sha256": vocabulary_sha256(loaded.tokenizer),
        "row": "a base" if choices.per_base else "a record",
        "pool": choices.pool,
        "layers": list(embedder.layers),
        "layers_joined": "mean" if choices.layers == "mean" else "side by side",
        "rc": choices.rc,
        "window": window,
        "stride": choices.stride,
        "merge": _MERGE["whole" if embedder.is_whole else None],
        "dtype": request.dtype,
        "sources": [list(one) for one in sources],
        "regions": _regions(request.sources),
        "shard": list(request.sources.shard) if request.sources.shard else None,
    }


def _regions(sources: EmbedSources) -> dict[str, Any] | None:
    """Which regions of a genome, as JSON; None if whole records."""
    if not (sources.bed or sources.vcf):
        return None
    flank = sources.flank if sources.vcf else None
    return {"genome": sources.genome, "file": str(sources.bed or sources.vcf), "flank": flank}
