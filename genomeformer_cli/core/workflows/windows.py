"""Cut genomes into labelled windows by their annotation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from genomeformer_cli.core.annotation.config import Label, WindowRules
from genomeformer_cli.core.annotation.intake import Intake, Tally
from genomeformer_cli.core.annotation.reading import annotated_records
from genomeformer_cli.core.annotation.sampling import Distinct, Sample, Window, windows_of
from genomeformer_cli.core.annotation.write import open_writer, output_paths, refuse_to_overwrite
from genomeformer_cli.core.errors import InputError, UsageError
from genomeformer_cli.core.genomes.genome import Genome, annotation_file, not_annotated
from genomeformer_cli.core.genomes.local import name_from_path
from genomeformer_cli.core.genomes.select import no_genomes, select_genomes
from genomeformer_cli.core.reporting import Reporter, Tracker
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.store.output_lock import lock_outputs

_SUFFIXES = (
    *(".gz", ".bgz", ".bz2", ".xz", ".zst"),
    *(".gff3", ".gff", ".gbff", ".gbk", ".gb", ".genbank"),
)


@dataclass(frozen=True, kw_only=True)
class WindowsRequest:
    """Request to cut windows."""

    output: Path  # Prefix of the two files, or a folder for them.
    genomes: tuple[str, ...] = ()  # Genomes in the cache.
    taxon: str | None = None  # Taxid or name of any rank; all its genomes in the cache.
    lock: Path | None = None  # Lock file; all its genomes.
    all_genomes: bool = False  # All genomes in the cache.
    # Annotation file for `fasta`, for the one genome named, or with sequence in it.
    annotation: Path | None = None
    fasta: Path | None = None  # FASTA file.
    rules: WindowRules = field(default_factory=WindowRules)  # Rules of cutting.
    per_class: int | None = None  # Windows per class over all genomes; None: no limit.
    force: bool = False  # Replace existing files.


@dataclass(frozen=True, kw_only=True)
class GenomeWindows:
    """Windows of one genome, and what they were cut from."""

    genome: str  # Name of the genome.
    num_records: int  # Records with annotation.
    counts: dict[str, int]  # Windows written, by class.
    records: Tally  # Records read, used, and left out by reason.
    features: Tally  # Features read, used, and left out by reason.
    num_pseudo: int = 0  # Used features of pseudogenes, which give no windows.


@dataclass(frozen=True, kw_only=True)
class WindowsResult:
    """Written windows."""

    fasta: Path  # FASTA file of the sequences.
    table: Path  # Table with one row per sequence, in the same order.
    counts: dict[str, int]  # Windows by class, all requested classes included.
    genomes: tuple[GenomeWindows, ...]  # Windows of each genome.
    seed: int  # Seed of all random choices.


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Genome to cut: files, and its name in window ids."""

    name: str
    fasta: Path | None
    annotation: Path


def cut_windows(
    request: WindowsRequest, *, reporter: Reporter, store: Store | None = None
) -> WindowsResult:
    """Write labelled windows of genomes as FASTA and a table.

    Raises:
        UsageError: The request contradicts itself, or names no genome with annotation.
        EntryExistsError: The files exist.
        AnnotationError, FastaError, AlphabetError: An input is invalid.
        InputError: No window fits.
        MissingExtraError: GenBank needs the extra `annotation`.
    """
    if request.per_class is not None and request.per_class < 1:
        raise UsageError("`--per-class` must be at least 1", hint="leave it out to keep them all")
    sources = _sources(request, store or Store(), reporter)
    paths = output_paths(request.output)
    with lock_outputs(*paths, reporter=reporter):
        return _write(request, sources, paths, reporter)


def _write(
    request: WindowsRequest, sources: list[_Source], paths: tuple[Path, Path], reporter: Reporter
) -> WindowsResult:
    if not request.force:
        refuse_to_overwrite(paths)
    _warn_of_lengths(request.rules, reporter)
    counts: Counter[tuple[str, Label]] = Counter()
    cut = _Cut(request, reporter)
    with open_writer(paths, force=request.force) as writer:
        for window in cut.windows(sources):
            writer.write(window)
            counts[window.genome, window.candidate.label] += 1
        if not counts:
            raise InputError(
                "no window fits: nothing was written",
                hint=f"{_read_text(cut.intakes)}; choose a smaller `--length` or `--margin`, or "
                "other `--classes`",
            )
    labels = request.rules.labels
    result = WindowsResult(
        fasta=paths[0],
        table=paths[1],
        counts={label: sum(counts[source.name, label] for source in sources) for label in labels},
        genomes=tuple(
            GenomeWindows(
                genome=source.name,
                num_records=cut.intakes[source.name].records.used,
                counts={label: counts[source.name, label] for label in labels},
                records=cut.intakes[source.name].records,
                features=cut.intakes[source.name].features,
                num_pseudo=cut.intakes[source.name].num_pseudo,
            )
            for source in sources
        ),
        seed=request.rules.seed,
    )
    _warn_of_scarcity(result, request.per_class, reporter)
    return result


class _Cut:
    """Single pass over all genomes, record by record."""

    def __init__(self, request: WindowsRequest, reporter: Reporter) -> None:
        self._request = request
        self._reporter = reporter
        self.intakes: dict[str, Intake] = {}

    def windows(self, sources: list[_Source]) -> Iterator[Window]:
        """Yield the windows to write, in order."""
        per_class = self._request.per_class
        sample = Sample(per_class) if per_class else None
        keep = sample or Distinct()
        with self._reporter.track("cutting windows", None, "bases") as tracker:
            for source in sources:
                for windows in self._records(source, tracker):
                    yield from keep.take(windows)
        if sample is not None:
            yield from sample.finish()

    def _records(self, source: _Source, tracker: Tracker) -> Iterator[list[Window]]:
        intake = self.intakes.setdefault(source.name, Intake())
        records = annotated_records(
            source.fasta, source.annotation, reporter=self._reporter, intake=intake
        )
        for record in records:
            yield windows_of(record, self._request.rules, source.name)
            tracker.advance(int(record.codes.size))


def _read_text(intakes: dict[str, Intake]) -> str:
    records, features = Tally(), Tally()
    num_pseudo = sum(intake.num_pseudo for intake in intakes.values())
    for intake in intakes.values():
        records.add(intake.records)
        features.add(intake.features)
    pseudo = f" ({num_pseudo:,} of pseudogenes)" if num_pseudo else ""
    return f"{records.text('records')}; {features.text('features')}{pseudo}"


def _sources(request: WindowsRequest, store: Store, reporter: Reporter) -> list[_Source]:
    selected = select_genomes(
        store,
        names=request.genomes,
        taxon=request.taxon,
        lock=request.lock,
        all_genomes=request.all_genomes,
    )
    if request.annotation is not None:
        return [_own(request.annotation, request.fasta, selected)]
    if request.fasta is not None:
        raise UsageError(
            "`--fasta` without `--gff`: no genes are known",
            hint="add the genes with `--gff FILE`",
        )
    if not selected:
        raise no_genomes(store, "cut")
    sources = []
    for genome, fasta in selected:
        annotation = annotation_file(genome, fasta.parent)
        if annotation is not None:
            sources.append(_Source(name=genome.name, fasta=fasta, annotation=annotation))
        elif genome.name in request.genomes:
            raise not_annotated(genome, "--gff")
        else:
            reporter.warn(f"{genome.label} has no annotation in the cache: left out")
    if not sources:
        raise UsageError(
            "none of the selected genomes has annotation in the cache",
            hint="`genomeformer fetch ... --format fasta,gff` fetches it for genomes at NCBI",
        )
    return sources


def _own(annotation: Path, fasta: Path | None, selected: list[tuple[Genome, Path]]) -> _Source:
    if len(selected) + (fasta is not None) > 1:
        raise UsageError(
            "`--gff` describes one genome, and several are given",
            hint="give one `--genome` or one `--fasta` with it",
        )
    if selected:
        genome, path = selected[0]
        return _Source(name=genome.name, fasta=path, annotation=annotation)
    if fasta is not None:
        return _Source(name=name_from_path(fasta), fasta=fasta, annotation=annotation)
    name = annotation.name
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return _Source(name=name_from_path(Path(name)), fasta=None, annotation=annotation)


def _warn_of_lengths(rules: WindowRules, reporter: Reporter) -> None:
    lengths = {label: rules.length_of(label) for label in rules.labels}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{label} {length:,}" for label, length in lengths.items())
        reporter.warn(
            f"window lengths differ between classes, so a model can classify by length: {text} "
            "bases"
        )


def _warn_of_scarcity(result: WindowsResult, minimum: int | None, reporter: Reporter) -> None:
    for label, number in result.counts.items():
        if not number:
            reporter.warn(f"there is no {label} window")
        elif minimum and number < minimum:
            reporter.warn(
                f"only {number:,} of the {minimum:,} {label} windows of `--per-class` can be cut; "
                "all of them are written"
            )
