"""Turn sequences into vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.checkpoints.locate import find_model
from genomeformer_cli.core.checkpoints.weights import LoadedModel, read_model
from genomeformer_cli.core.embedding.embedder import embed_tokens
from genomeformer_cli.core.errors import ConfigError
from genomeformer_cli.core.genomes.fasta import local_copy, read_records
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import encode_bases
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.tokenizers.protocol import Ids
from genomeformer_cli.core.workflows.compute import choose_device, set_threads


@dataclass(frozen=True, kw_only=True)
class EmbedRequest:
    """What to embed, with which model.

    Attributes:
        source: A FASTA or FASTQ file, plain or gzip'd, or `-` for standard input.
        model: A bundle, run or checkpoint folder, or a name in the cache.
        window: Longest stretch the model sees at once; None: the context it was trained with.
        device: `auto`, `cpu`, or a torch device.
        threads: CPU threads; None: all usable cores.
    """

    source: str
    model: str
    window: int | None = None
    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class EmbedResult:
    """Vectors and whose they are.

    Attributes:
        vectors_NE: (N, E) float32, rows in input order; NaN rows for sequences without a real base.
        ids: First words of the headers, N of them.
        model: The folder the weights came from.
    """

    vectors_NE: npt.NDArray[np.float32]
    ids: tuple[str, ...]
    model: Path


def embed_sequences(
    request: EmbedRequest, *, reporter: Reporter, store: Store | None = None
) -> EmbedResult:
    """Embed every record of a file.

    Raises:
        FastaError, AlphabetError: The input cannot be used.
        NotInCacheError, CheckpointError, CorruptError: The model cannot be used.
    """
    if request.window is not None and request.window < 1:
        raise ConfigError(
            f"a window of {request.window} bases holds nothing",
            hint="leave `--window` out, or raise it",
        )
    set_threads(request.threads)
    loaded = read_model(find_model(request.model, store=store or Store(), reporter=reporter))
    loaded.model.to(choose_device(request.device))
    ids, sequences = _read(request.source, loaded)
    _warn_of_oddities(ids, sequences, loaded, reporter)
    window = request.window or loaded.model.config.context
    vectors = embed_tokens(loaded, sequences, window=window, reporter=reporter)
    return EmbedResult(vectors_NE=vectors, ids=tuple(ids), model=loaded.folder)


def _read(source: str, loaded: LoadedModel) -> tuple[list[str], list[Ids]]:
    ids: list[str] = []
    sequences: list[Ids] = []
    with local_copy(source) as (path, shown):
        for record in read_records(path, shown=shown):
            codes = encode_bases(record.sequence, where=f"`{shown}`: record `{record.id}`")
            ids.append(record.id)
            sequences.append(loaded.tokenizer.encode(codes))
    return ids, sequences


def _warn_of_oddities(
    ids: Sequence[str], sequences: Sequence[Ids], loaded: LoadedModel, reporter: Reporter
) -> None:
    for name, times in Counter(ids).items():
        if times > 1:
            reporter.warn(f"the id `{name}` occurs {times} times; every record keeps its row")
    real = loaded.tokenizer.real_ids
    for row, (name, sequence) in enumerate(zip(ids, sequences, strict=True)):
        if not ((sequence >= real.start) & (sequence < real.stop)).any():
            what = "holds no base but N" if sequence.size else "is empty"
            reporter.warn(f"record `{name}` {what}: row {row} is NaN")
