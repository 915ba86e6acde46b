"""Explain a model: dependencies between the bases of sequences."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from genomeformer_cli.core.evaluation.tokenized_record import EVERY
from genomeformer_cli.core.explanation.dependencies import (
    Strengths,
    check_dependencies,
    check_length,
    dependency_map,
)
from genomeformer_cli.core.explanation.pairs import Pairs, codon_periodicity, strongest_pairs
from genomeformer_cli.core.formats.npz import npz_archive, write_array, write_texts
from genomeformer_cli.core.formats.region import Region
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes, decode_bases
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.devices import choose_device, set_threads
from genomeformer_cli.core.workflows.sources import Look, records_text


@dataclass(frozen=True, kw_only=True)
class ExplainRequest:
    """Request to explain."""

    model: str | None = None  # Model, see `core/model_io/resolve.py`; None: `default`.
    every: int = EVERY  # Number of passes of a masked model.
    device: str = "auto"  # `auto`, `cpu`, or a torch device.
    workers: int | None = None  # CPU cores; None: every core, or `OMP_NUM_THREADS`.


@dataclass(frozen=True, kw_only=True)
class ExplainedRecord:
    """Record with its dependency map."""

    id: str  # Id of the record.
    codes: Codes  # Base codes.
    strengths_LL: Strengths  # Dependency map.
    pairing_LL: Strengths  # Changes towards the complement.
    pairs: Pairs  # Strongest pairs.
    codon_periodicity: float  # Strength in frame over strength out of frame; NaN if too short.
    region: Region | None = None  # Place on a genome; None for a whole record.

    def genome_positions(self) -> list[int] | None:
        """Return the 1-based positions of all bases on the genome; None for a spliced region."""
        region = self.region
        if region is None or region.end - region.start != self.codes.size:
            return None
        positions = range(region.start + 1, region.end + 1)
        return list(reversed(positions) if region.strand == "-" else positions)


def load_explainer(
    request: ExplainRequest, *, reporter: Reporter, store: Store | None = None
) -> LoadedModel:
    """Load the model onto its device.

    Raises:
        NotInCacheError, CheckpointError, CorruptError: The model cannot be loaded.
        ConfigError: The model gives no log-odds of bases.
    """
    set_threads(request.workers)
    loaded = read_model(model_folder(request.model, store=store or Store(), reporter=reporter))
    check_dependencies(loaded)
    loaded.model.to(choose_device(request.device, reporter))
    return loaded


def explain_dependencies(
    loaded: LoadedModel, look: Look, every: int, reporter: Reporter, noun: str = "record"
) -> Iterator[ExplainedRecord]:
    """Yield every sequence with its dependency map, in input order.

    Raises:
        ConfigError: A sequence is longer than one window of the model.
    """
    # Before the first map: a long sequence late in the input must not cost the maps before it.
    for query in look.read():
        check_length(loaded, query.id, query.codes)
    num_records = num_bases = num_without = 0
    with reporter.track("substituting", look.num_bases, "bases") as tracker:
        for query in look.read():
            codes = query.codes
            num_known = int((codes < NUM_REAL_BASES).sum())
            num_records, num_bases = num_records + 1, num_bases + codes.size
            if not num_known:
                num_without += 1
                kind = "record" if query.region is None else "region"
                reason = query.problem or "no base that can be substituted"
                reporter.warn(f"{kind} `{query.id}` is without a map: {reason}")
            dependencies = dependency_map(loaded, codes, every=every, progress=tracker.advance)
            tracker.advance(codes.size - num_known)
            yield ExplainedRecord(
                id=query.id,
                codes=codes,
                strengths_LL=dependencies.strengths_LL,
                pairing_LL=dependencies.pairing_LL,
                pairs=strongest_pairs(dependencies, codes),
                codon_periodicity=codon_periodicity(dependencies.strengths_LL),
                region=query.region,
            )
    reporter.note(records_text(num_records, num_bases, num_without, noun))


def write_maps(
    records: Iterable[ExplainedRecord], path: Path
) -> Generator[ExplainedRecord, None, bool]:
    """Write the maps as `.npz` while passing the records on.

    The arrays are `map_0`, `pairing_0`, `map_1`, ... in order, then `ids`, `sequences`, `places`.

    Raises:
        StoreError: The file cannot be written.
    """
    texts: dict[str, list[str]] = {"ids": [], "sequences": [], "places": []}
    with npz_archive(path) as archive:
        for number, record in enumerate(records):
            write_array(archive, f"map_{number}", record.strengths_LL)
            write_array(archive, f"pairing_{number}", record.pairing_LL)
            texts["ids"].append(record.id)
            texts["sequences"].append(decode_bases(record.codes))
            texts["places"].append("" if record.region is None else record.region.place)
            yield record
        for name, values in texts.items():
            write_texts(archive, name, values)
    return True
