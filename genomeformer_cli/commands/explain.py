"""`genomeformer explain`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
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
_TABLES, _TRACKS = ("", ".tsv", ".txt", ".json"), (".bw", ".bigwig", ".bedgraph")
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
            "without `--attribution`: `ig`.",
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
        attribution = "ig"
    _check_options(attribution, answer, match, is_map=dependencies, has_motifs=motifs)
    extra = (_PAGE, _ARRAYS) if dependencies else (_MEME,) if motifs else (_ARRAYS, *_TRACKS)
    _check_outputs(outputs, selected, (*_TABLES, *_PICTURES, *extra))
    from genomeformer_cli.core.store.output_lock import lock_outputs
    from genomeformer_cli.core.workflows.explain import ExplainRequest
    from genomeformer_cli.core.workflows.score import open_sequences
    from genomeformer_cli.render.progress import terminal_reporter

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
        job.compute(stack.enter_context(open_sequences(selected, reporter)), selected.noun)
        paths: list[Path | None] = [*outputs] or [None]
        for path in paths:
            _write(job, path, as_json=as_json, has_regions=selected.has_regions and not motifs)
            if path is not None:
                reporter.note(f"wrote {path}")


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
        suffix = path.suffix.lower()
        if suffix not in suffixes:
            raise UsageError(
                f"unknown format of `{path}`",
                hint="end it with " + ", ".join(f"`{name}`" for name in suffixes if name),
            )
        if suffix in _TRACKS:
            if sources.has_regions and sources.tile is None:
                raise UsageError(
                    f"the track `{path.name}` runs along a genome, the selected regions do not",
                    hint="give whole records or `--tile`, or a table as `--output`",
                )
            from genomeformer_cli.core.formats.tracks.files import require_track

            require_track(path)
    if len({path.absolute() for path in outputs}) < len(outputs):
        raise UsageError("`--output` names a file twice", hint="give each file once")


# Function that writes a file, by suffix.
_Writers = dict[str, Callable[[Path], None]]


class _Job(Protocol):
    """Explanation of sequences, and the forms in which it is written."""

    columns: tuple[str, ...]
    writers: _Writers

    def compute(self, look: Look, noun: str) -> None: ...

    def rows(self) -> Iterator[bytes]: ...

    def document(self) -> list[dict[str, Any]]: ...


class _Maps:
    """Dependency maps."""

    def __init__(self, request: ExplainRequest, reporter: Reporter) -> None:
        from genomeformer_cli.core.workflows import explain
        from genomeformer_cli.render import dependencies

        self._workflow, self._render = explain, dependencies
        self._reporter, self._every = reporter, request.every
        self._loaded = explain.load_explainer(request, reporter=reporter)
        self._records: list[ExplainedRecord] = []
        self.columns: tuple[str, ...] = dependencies.COLUMNS
        self.writers: _Writers = {
            **dict.fromkeys((*_PICTURES, _PAGE), self._draw),
            _ARRAYS: partial(explain.write_maps, self._records),
        }

    def compute(self, look: Look, noun: str) -> None:
        records = self._workflow.explain_dependencies(
            self._loaded, look, self._every, self._reporter, noun
        )
        self._records += records

    def rows(self) -> Iterator[bytes]:
        return (row for record in self._records for row in self._render.pair_rows(record))

    def document(self) -> list[dict[str, Any]]:
        return [self._render.record_json(record) for record in self._records]

    def _draw(self, path: Path) -> None:
        title = f"dependencies, {self._loaded.folder.name}"
        self._render.draw_maps(self._records, path, title=title)


class _Attributions:
    """Attributions."""

    def __init__(
        self, request: ExplainRequest, method: str, target: str | None, reporter: Reporter
    ) -> None:
        from genomeformer_cli.core.explanation.attribution import Method
        from genomeformer_cli.core.workflows import explain_attribution
        from genomeformer_cli.render import attributions

        self._workflow, self._render = explain_attribution, attributions
        self._reporter, self._method = reporter, Method(method)
        self._explainer = explain_attribution.load_answer(
            request, self._method, target, reporter=reporter
        )
        self._title = f"attributions ({method}), {self._explainer.loaded.folder.name}"
        self._records: list[AttributedRecord] = []
        self.columns: tuple[str, ...] = attributions.COLUMNS
        self.writers: _Writers = {
            **dict.fromkeys(_PICTURES, self._draw),
            **dict.fromkeys(_TRACKS, self._write_track),
            _ARRAYS: partial(explain_attribution.write_attributions, self._records),
        }

    def compute(self, look: Look, noun: str) -> None:
        records = self._workflow.attribute_records(
            self._explainer, look, self._method, self._reporter, noun
        )
        self._look = look
        self._records += records

    def rows(self) -> Iterator[bytes]:
        return (row for record in self._records for row in self._render.attribution_rows(record))

    def document(self) -> list[dict[str, Any]]:
        return [self._render.attribution_json(record) for record in self._records]

    def _draw(self, path: Path) -> None:
        self._render.draw_attributions(self._records, path, title=self._title)

    def _write_track(self, path: Path) -> None:
        self._workflow.write_attribution_track(self._records, self._look, path, title=self._title)


class _Motifs(_Attributions):
    """Motifs of attributions, and those of the random twin."""

    def __init__(
        self,
        request: ExplainRequest,
        method: str,
        target: str | None,
        match: Path | None,
        reporter: Reporter,
    ) -> None:
        from genomeformer_cli.core.workflows import explain_motifs
        from genomeformer_cli.render import motifs

        self._motifs, self._table = explain_motifs, motifs
        self._references = explain_motifs.read_known(match)
        super().__init__(request, method, target, reporter)
        explain_motifs.check_fine_tuned(self._explainer)
        self._title = f"motifs ({method}), {self._explainer.loaded.folder.name}"
        self._rows: list[FoundMotif] = []
        self.columns = motifs.COLUMNS
        self.writers = {
            **dict.fromkeys(_PICTURES, self._draw),
            _MEME: partial(explain_motifs.write_meme, self._rows),
        }

    def compute(self, look: Look, noun: str) -> None:
        super().compute(look, noun)
        self._rows += self._motifs.find_beside_twin(
            self._explainer, self._records, self._method, self._references, self._reporter
        )

    def rows(self) -> Iterator[bytes]:
        return map(self._table.motif_line, self._rows)

    def document(self) -> list[dict[str, Any]]:
        return [self._table.motif_json(row) for row in self._rows]

    def _draw(self, path: Path) -> None:
        self._table.draw_motifs(self._rows, path, title=self._title)


def _write(job: _Job, path: Path | None, *, as_json: bool, has_regions: bool) -> None:
    """Write an explanation in the format of the suffix; None is standard output."""
    from genomeformer_cli.core.store.atomic import atomic_file
    from genomeformer_cli.render.console import data_stream
    from genomeformer_cli.render.rows import with_coordinates, write_rows

    suffix = "" if path is None else path.suffix.lower()
    if path is not None and suffix in job.writers:
        job.writers[suffix](path)
    else:
        with atomic_file(path) if path else nullcontext(data_stream()) as out:
            if suffix == ".json" or (as_json and suffix == ""):
                out.write((json.dumps(job.document(), indent=2) + "\n").encode())
                out.flush()
            else:
                columns = with_coordinates(job.columns, has_regions=has_regions)
                write_rows(out, columns, job.rows())
