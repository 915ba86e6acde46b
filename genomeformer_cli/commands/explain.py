"""`genomeformer explain`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from typer import Context, Option

from genomeformer_cli.commands._options import (
    OUTPUT_HELP,
    DeviceOption,
    JsonOption,
    ModelOption,
    WorkersOption,
)
from genomeformer_cli.commands._outputs import check_suffix, standard_output
from genomeformer_cli.commands._sources import (
    BedOption,
    DownstreamOption,
    FeatureOption,
    GenomeOption,
    GffOption,
    SourcesArgument,
    StepOption,
    TileOption,
    UpstreamOption,
    given_sources,
)
from genomeformer_cli.core.errors import UsageError

if TYPE_CHECKING:
    from genomeformer_cli.core.annotation.sources import SequenceSources
    from genomeformer_cli.core.reporting import Reporter
    from genomeformer_cli.core.workflows.explain import ExplainedRecord, ExplainRequest
    from genomeformer_cli.core.workflows.explain_attribution import AttributedRecord
    from genomeformer_cli.core.workflows.explain_motifs import FoundMotif
    from genomeformer_cli.core.workflows.sources import Look

EXAMPLE = "Example:  genomeformer explain trna.fa --dependencies -o pairs.tsv -o map.png"
_METHODS = ("ism", "grad", "ig")
_TABLES, _TRACKS = (".tsv", ".txt", ".json"), (".bw", ".bigwig", ".bedgraph")
_PICTURES, _PAGE, _ARRAYS, _MEME = (".png", ".svg", ".pdf"), ".html", ".npz", ".meme"


def command(
    context: Context,
    sources: SourcesArgument = None,
    *,
    model: ModelOption = None,
    genome: GenomeOption = None,
    bed: BedOption = None,
    gff: GffOption = None,
    feature: FeatureOption = None,
    upstream: UpstreamOption = None,
    downstream: DownstreamOption = None,
    tile: TileOption = None,
    step: StepOption = None,
    dependencies: Annotated[
        bool,
        Option(
            "--dependencies",
            help="Map of the change of the prediction at each base after substituting another.",
        ),
    ] = False,
    attribution: Annotated[
        str | None,
        Option(
            help="Share of each base in the answer of a fine-tuned model, or in the probability of "
            "a base: `ism` (substitutions), `grad` (gradient), `ig` (integrated gradients).",
            metavar="METHOD",
            show_default=False,
        ),
    ] = None,
    answer: Annotated[
        str | None,
        Option(
            help="With `--attribution`: class, label or quantity; default: the last one. Without a "
            "fine-tuned model: position of a base, from 1.",
            show_default=False,
        ),
    ] = None,
    motifs: Annotated[
        bool,
        Option(
            "--motifs",
            help="Motifs of the attributions of many sequences, beside those of the random twin; "
            "without `--attribution`: `ism`.",
        ),
    ] = False,
    match: Annotated[
        Path | None,
        Option(
            help="With `--motifs`: known motifs to compare with, in MEME format.", metavar="MEME"
        ),
    ] = None,
    every: Annotated[
        int, Option(min=1, help="Distance of the bases that a masked model hides at a time.")
    ] = 16,
    as_json: JsonOption = False,
    output: Annotated[
        list[Path] | None,
        Option(
            "-o",
            "--output",
            callback=standard_output,
            help=f"{OUTPUT_HELP} May be repeated; the suffix is the format: `.tsv`, `.json`, "
            "`.npz`, `.png`, `.svg`, `.pdf`; maps also `.html`, attributions `.bw` or `.bedgraph`, "
            "motifs `.meme`. "
            "Default: a table on standard output.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
) -> None:
    """Explain a model: bases on which a prediction depends, and their shares in an answer."""
    selected = given_sources(context)
    outputs = output or []
    if motifs and attribution is None:
        attribution = "ism"
    _check_options(attribution, answer, match, is_map=dependencies, has_motifs=motifs)
    extra = (_PAGE, _ARRAYS) if dependencies else (_MEME,) if motifs else (_ARRAYS, *_TRACKS)
    _check_outputs(outputs, selected, (*_TABLES, *_PICTURES, *extra))
    from genomeformer_cli.core.store.output_lock import lock_outputs
    from genomeformer_cli.core.workflows.explain import ExplainRequest
    from genomeformer_cli.core.workflows.score import open_sequences
    from genomeformer_cli.render.progress import terminal_reporter
    from genomeformer_cli.render.rows import with_coordinates

    request = ExplainRequest(model=model, every=every, device=device, workers=workers)
    with terminal_reporter() as reporter, ExitStack() as stack:
        stack.enter_context(lock_outputs(*outputs, reporter=reporter, inputs=selected.inputs))
        job: _Job
        if attribution is None:
            job = _Maps(request, reporter)
        elif motifs:
            job = _Motifs(request, attribution, answer, match, reporter)
        else:
            job = _Attributions(request, attribution, answer, reporter)
        look = stack.enter_context(open_sequences(selected, reporter))
        records = job.records(look, selected.noun)
        columns = with_coordinates(job.columns, has_regions=selected.has_regions and not motifs)
        # Every output writes a record and passes it on to the next: none holds all records.
        for path in (*outputs,) or (None,):
            chain = _write(job, records, path, columns, reporter, as_json=as_json)
            records = stack.enter_context(closing(chain))
        for _ in records:
            pass


def _check_options(
    attribution: str | None,
    target: str | None,
    match: Path | None,
    *,
    is_map: bool,
    has_motifs: bool,
) -> None:
    """Refuse options that contradict each other.

    Raises:
        UsageError: They do, or nothing is to be explained.
    """
    if is_map == (attribution is not None):
        raise UsageError(
            "two things to explain at once" if is_map else "nothing to explain",
            hint="give one of `--dependencies`, `--attribution METHOD` and `--motifs`",
        )
    if attribution not in (None, *_METHODS):
        raise UsageError(
            f"unknown method `{attribution}`", hint="give `ism`, `grad` or `ig` as `--attribution`"
        )
    if target is not None and attribution is None:
        raise UsageError("`--answer` needs `--attribution`", hint="leave `--answer` out")
    if match is not None and not has_motifs:
        raise UsageError("`--match` needs `--motifs`", hint="add `--motifs`")


def _check_outputs(
    outputs: list[Path], sources: SequenceSources, suffixes: tuple[str, ...]
) -> None:
    """Refuse outputs that cannot be written.

    Raises:
        UsageError: A suffix is unknown, a file is given twice, or a track runs along no genome.
        MissingExtraError: A package is not installed.
    """
    for path in outputs:
        check_suffix(path, suffixes)
        if path.suffix.lower() in _TRACKS:
            if sources.has_regions and sources.tile is None:
                raise UsageError(
                    f"the track `{path.name}` runs along a genome, the selected regions do not",
                    hint="give whole records or `--tile`, or a table as `--output`",
                )
            from genomeformer_cli.core.formats.tracks.files import require_track

            require_track(path)
    if len({path.absolute() for path in outputs}) < len(outputs):
        raise UsageError("`--output` names a file twice", hint="give each file once")


# Function that writes a file while passing records on, by suffix; it returns False if there is
# nothing to write.
_Writer = Callable[[Iterable[Any], Path], Generator[Any, None, bool]]


class _Job(Protocol):
    """Explanation of sequences, and the forms in which it is written."""

    columns: tuple[str, ...]  # Headings of the table.
    writers: dict[str, _Writer]  # Writers of files other than tables, by suffix.

    def records(self, look: Look, noun: str) -> Iterator[Any]: ...

    def rows(self, record: Any) -> Iterable[bytes]: ...

    def document(self, record: Any) -> dict[str, Any]: ...


class _Maps:
    """Job of `--dependencies`: one map per sequence."""

    def __init__(self, request: ExplainRequest, reporter: Reporter) -> None:
        from genomeformer_cli.core.workflows import explain
        from genomeformer_cli.render import dependencies

        self._reporter, self._every = reporter, request.every
        self._loaded = explain.load_explainer(request, reporter=reporter)
        self._explain = explain.explain_dependencies
        title = f"dependencies, {self._loaded.folder.name}"
        self.columns: tuple[str, ...] = dependencies.COLUMNS
        self.rows, self.document = dependencies.pair_rows, dependencies.record_json
        self.writers: dict[str, _Writer] = {
            **dict.fromkeys((*_PICTURES, _PAGE), partial(dependencies.draw_maps, title=title)),
            _ARRAYS: explain.write_maps,
        }

    def records(self, look: Look, noun: str) -> Iterator[ExplainedRecord]:
        return self._explain(self._loaded, look, self._every, self._reporter, noun)


class _Attributions:
    """Job of `--attribution`: shares of the bases of each sequence."""

    def __init__(
        self, request: ExplainRequest, method: str, target: str | None, reporter: Reporter
    ) -> None:
        from genomeformer_cli.core.explanation.attribution import Method
        from genomeformer_cli.core.workflows import explain_attribution
        from genomeformer_cli.render import attributions

        self._workflow, self._reporter, self._method = explain_attribution, reporter, Method(method)
        self._explainer = explain_attribution.load_answer(
            request, self._method, target, reporter=reporter
        )
        self._title = f"attributions ({method}), {self._explainer.loaded.folder.name}"
        self.columns: tuple[str, ...] = attributions.COLUMNS
        self.rows, self.document = attributions.attribution_rows, attributions.attribution_json
        draw = partial(attributions.draw_attributions, title=self._title)
        self.writers: dict[str, _Writer] = {
            **dict.fromkeys(_PICTURES, draw),
            _ARRAYS: explain_attribution.write_attributions,
        }

    def records(self, look: Look, noun: str) -> Iterator[AttributedRecord]:
        write = partial(self._workflow.write_attribution_track, look=look, title=self._title)
        self.writers |= dict.fromkeys(_TRACKS, write)
        return self._workflow.attribute_records(
            self._explainer, look, self._method, self._reporter, noun
        )


class _Motifs:
    """Job of `--motifs`: motifs of the model, then those of its random twin."""

    def __init__(
        self,
        request: ExplainRequest,
        method: str,
        target: str | None,
        match: Path | None,
        reporter: Reporter,
    ) -> None:
        from genomeformer_cli.core.explanation.attribution import Method
        from genomeformer_cli.core.workflows import explain_motifs
        from genomeformer_cli.core.workflows.explain_attribution import load_answer
        from genomeformer_cli.render import motifs

        self._find, self._reporter = explain_motifs.find_beside_twin, reporter
        references = explain_motifs.read_known(match)
        explainer = load_answer(request, Method(method), target, reporter=reporter)
        self._search = explain_motifs.MotifSearch(
            explain_motifs.check_fine_tuned(explainer), Method(method), references
        )
        self.columns: tuple[str, ...] = motifs.COLUMNS
        self.document = motifs.motif_json
        title = f"motifs ({method}), {explainer.loaded.folder.name}"
        self.writers: dict[str, _Writer] = {
            **dict.fromkeys(_PICTURES, partial(motifs.draw_motifs, title=title)),
            _MEME: explain_motifs.write_meme,
        }
        self._line = motifs.motif_line

    def records(self, look: Look, noun: str) -> Iterator[FoundMotif]:
        return self._find(self._search, look, self._reporter, noun)

    def rows(self, record: FoundMotif) -> Iterable[bytes]:
        return (self._line(record),)


def _write(
    job: _Job,
    records: Iterable[Any],
    path: Path | None,
    columns: tuple[str, ...],
    reporter: Reporter,
    *,
    as_json: bool,
) -> Generator[Any, None, None]:
    """Write records in the format of the suffix while passing them on; None is standard output."""
    from genomeformer_cli.core.store.atomic import atomic_file
    from genomeformer_cli.render.console import data_stream
    from genomeformer_cli.render.rows import write_documents, write_table

    suffix = "" if path is None else path.suffix.lower()
    is_written = True
    if path is not None and suffix in job.writers:
        is_written = yield from job.writers[suffix](records, path)
    else:
        with atomic_file(path) if path else nullcontext(data_stream()) as out:
            if suffix == ".json" or (as_json and suffix == ""):
                yield from write_documents(records, out, job.document)
            else:
                yield from write_table(records, out, columns, job.rows)
    if path is not None and is_written:
        reporter.note(f"wrote {path}")
    elif path is not None:
        reporter.warn(f"nothing to show: `{path}` was not written")
