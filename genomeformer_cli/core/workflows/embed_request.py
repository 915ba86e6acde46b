"""Request and result of `embed`, and the combinations of options that are refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from genomeformer_cli.core.annotation.sources import SequenceSources
from genomeformer_cli.core.embedding.formats import check_format
from genomeformer_cli.core.embedding.options import EmbedOptions, PlotMethod, Precision
from genomeformer_cli.core.embedding.projection import Projection, check_method
from genomeformer_cli.core.errors import ConfigError, UsageError
from genomeformer_cli.core.formats.groups import GroupBy
from genomeformer_cli.core.inference.precision import PrecisionName, UsedPrecision
from genomeformer_cli.core.store.atomic import (
    check_place,
)
from genomeformer_cli.core.workflows.embed_record import (
    sidecar,
)


@dataclass(frozen=True, kw_only=True)
class EmbedRequest:
    """Request to embed sequences."""

    sources: SequenceSources  # Sources of the sequences.
    model: str | None = None  # Model, see `core/model_io/resolve.py`; None: `default`.
    # Options of the embedding: rows, pooling, layers, strands, windows.
    choices: EmbedOptions = field(default_factory=EmbedOptions)
    output: Path | None = None  # Output file, its format by its name; None: `.npy` to the stream.
    # File of ids, one per line; `.tsv` adds row, length and number of rows of each record.
    ids: Path | None = None
    dtype: Precision = "float32"  # Output precision.
    gpus: int | None = None  # GPUs of this machine, one process each; 0: CPU; None: by `device`.
    device: str = "auto"  # `auto`, `cpu`, or a torch device.
    workers: int | None = None  # CPU cores; None: every core, or `OMP_NUM_THREADS`.
    # Precision of the matrix products; `auto`: float32, and int8 for vectors where it is harmless.
    precision: PrecisionName = "auto"
    strict: bool = False  # Raise for records without a vector and for duplicate ids.
    resume: bool = False  # Continue an interrupted run of the job; keep a finished one unchanged.
    group: GroupBy | None = None  # One row per group of records, instead of one per record.
    plane: PlotMethod | None = None  # Projection of the rows onto a plane; None: no projection.


@dataclass(frozen=True, kw_only=True)
class EmbedResult:
    """Result of an embedding."""

    rows: int  # Number of rows.
    width: int  # Columns.
    model: Path  # Folder of the weights.
    precision: UsedPrecision  # Precision of the matrix products.
    num_records: int  # Number of records.
    done_before: int = 0  # Rows of an earlier, interrupted run.
    ids: tuple[str, ...] = ()  # Ids of the records, if a projection was requested.
    plane: Projection | None = None  # Rows as points of the plane.


def check_request(request: EmbedRequest) -> None:
    """Check a request before any work.

    Raises:
        UsageError, ConfigError: Options contradict each other.
        MissingExtraError: The output needs a package that is not installed.
    """
    if request.output is not None:
        check_format(request.output, per_base=request.choices.per_base)
        check_place(request.output)
        if request.ids is not None and request.ids.absolute() == sidecar(request.output).absolute():
            raise UsageError(
                f"`{request.ids}` is where the description of the array goes",
                hint="give `--ids` another name",
            )
    if request.resume and request.output is None:
        raise UsageError(
            "`--resume` needs an output file, not standard output",
            hint="write the array to a file with `-o FILE`",
        )
    if request.gpus and request.device not in ("auto", "cuda"):
        raise ConfigError(
            f"{request.gpus} GPUs on the device `{request.device}`",
            hint="`--set gpus=N` starts one process per GPU: leave `--device` out",
        )
    if request.group and request.sources.shard:
        raise UsageError(
            "`--pool genome` with `--shard`: a shard has a part of every genome",
            hint="give each job some of the genomes instead",
        )
    if request.plane:
        check_method(request.plane)
        if request.choices.per_base:
            raise UsageError(
                "`--plot` draws one point per record, not one per base",
                hint="choose another `--pool`, or leave `--plot` out",
            )
