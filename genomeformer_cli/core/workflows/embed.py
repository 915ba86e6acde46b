"""Embed sequences: one vector per record or per base."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from genomeformer_cli.core.embedding.embedder import Embedder
from genomeformer_cli.core.embedding.formats import VectorTable, write_table
from genomeformer_cli.core.embedding.pooling import has_vector, pooled_unit
from genomeformer_cli.core.embedding.projection import project
from genomeformer_cli.core.embedding.vector_writer import VectorWriter
from genomeformer_cli.core.embedding.workers import WorkerJob, embed_parallel, embed_serial
from genomeformer_cli.core.errors import GenomeformerError, UsageError
from genomeformer_cli.core.formats.sequences import Query, TileContext
from genomeformer_cli.core.inference.precision import UsedPrecision, set_precision
from genomeformer_cli.core.model_io.model_folder import read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import Codes
from genomeformer_cli.core.store.atomic import (
    explain_write_failure,
    move_into_place,
    write_json,
)
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.store.output_lock import lock_outputs
from genomeformer_cli.core.store.run_record import note_output
from genomeformer_cli.core.workflows.devices import choose_device, gpu_names, set_threads
from genomeformer_cli.core.workflows.embed_genomes import pool_genomes
from genomeformer_cli.core.workflows.embed_record import (
    FINISHED,
    describe_embedding,
    identify_file,
    is_unchanged,
    read_finished,
    read_regions,
    save_ids,
    sidecar,
    with_checksum,
)
from genomeformer_cli.core.workflows.embed_request import EmbedRequest, EmbedResult, check_request
from genomeformer_cli.core.workflows.sources import (
    Look,
    RowCheck,
    look_through,
    records_text,
    warn_of,
)

# What is sorted by length together, and written before the next is read.
_BASES, _RECORDS = 1 << 22, 1 << 16
_BYTES_OF_ROWS = 1 << 27
# Bytes of a value of a base, and of one of a pooled row while its windows and strands are joined.
_BASE_BYTES, _POOLED_BYTES = 4, 20


def embed_sequences(
    request: EmbedRequest,
    *,
    reporter: Reporter,
    store: Store | None = None,
    stream: IO[bytes] | None = None,
) -> EmbedResult:
    """Embed every record, in order.

    Args:
        request: Sources, model and output.
        reporter: Receives progress.
        store: Cache.
        stream: Output stream, if there is no output file.

    Raises:
        FastaError, AlphabetError, InputError: The input is invalid.
        NotInCacheError, CheckpointError, CorruptError: The model cannot be loaded.
        ConfigError, UsageError, MissingExtraError: The request cannot be fulfilled on this machine.
        StoreError: The output cannot be written; an earlier output is unchanged.
    """
    store = store or Store()
    check_request(request)
    devices = tuple(gpu_names(request.gpus or 0))
    loaded = read_model(model_folder(request.model, store=store, reporter=reporter))
    set_threads(request.workers)
    device = choose_device("cpu" if request.gpus == 0 else request.device, reporter)
    loaded.model.to(device)
    precision = set_precision(loaded, request.precision, reporter, vectors=True)
    embedder = Embedder(loaded, request.choices)
    with ExitStack() as stack:
        stack.enter_context(
            lock_outputs(
                request.output, request.ids, reporter=reporter, inputs=request.sources.inputs
            )
        )
        if request.output is not None:
            note_output(sidecar(request.output))
        look = look_through(
            request.sources,
            store=store,
            stack=stack,
            reporter=reporter,
            check=RowCheck(
                strict=request.strict,
                has_token=partial(has_vector, loaded.tokenizer, embedder.options.pool),
                unit=pooled_unit(embedder.options.pool),
            ),
        )
        consequence = "it has no row of numbers" if request.choices.per_base else "row {} is NaN"
        if request.group is not None:
            consequence = "it has no weight in its group"
        warn_of([f"{why}: {consequence.format(row)}" for row, why in look.odd], "records", reporter)
        if request.resume and look.identities is None:
            raise UsageError(
                "sequences from a pipe cannot be compared with those of the interrupted run, "
                "so they cannot be "
                "resumed",
                hint="put the sequences into a file, or leave `--resume` out",
            )
        work = _Work(request, embedder, look, devices or (str(device),), precision, reporter)
        result = work.run(stream, stack)
        if not (request.sources.bed or request.sources.vcf):
            counts = look.num_records, look.num_bases, len(look.odd)
            noun = request.sources.noun
            reporter.note(records_text(*counts, noun, kind="without a vector"))
        return result


@dataclass
class _Group:
    """Records embedded together, and their rows of the output."""

    ids: list[str]
    codes: list[Codes]
    contexts: list[TileContext]
    rows: VectorWriter
    per_base: bool

    def allocate(self) -> npt.NDArray[np.floating[Any]]:
        sizes = [codes.size if self.per_base else 1 for codes in self.codes]
        return self.rows.add_records(self.ids, sizes)


@dataclass(eq=False)
class _Work:
    request: EmbedRequest
    embedder: Embedder
    look: Look
    devices: tuple[str, ...]
    precision: UsedPrecision
    reporter: Reporter

    def __post_init__(self) -> None:
        described = describe_embedding(
            self.request.sources, self.request.dtype, self.embedder, self.look, self.request.group
        )
        self._described = {**described, "precision": self.precision}
        self._job = hashlib.sha256(json.dumps(self._described).encode()).hexdigest()

    def run(self, stream: IO[bytes] | None, stack: ExitStack) -> EmbedResult:
        output = self.request.output
        if output is None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="genomeformer-"))
            folder = Path(scratch) / "rows"
        else:
            folder = output.with_name(f".{output.name}.partial")
            if self.request.resume and (finished := self._finished(output, folder)):
                return finished
        rows = VectorWriter(
            folder,
            width=self.embedder.width,
            # Weighted sums need the precision that the model has.
            dtype=np.dtype("float32" if self.request.group else self.request.dtype),
            job=self._job,
            resume=self.request.resume,
        )
        if rows.discard_reason:
            self.reporter.warn(
                f"`{folder}` cannot be resumed: {rows.discard_reason}: starting over"
            )
        done_before = rows.num_rows
        if done_before:
            self.reporter.note(f"resuming: {rows.num_records} records are already embedded")
        keep = False
        try:
            self._fill(rows)
            with self._output_rows(rows) as (final, lengths):
                result = self._finish(final, lengths, done_before, stream)
        except GenomeformerError:
            keep = output is not None and self._job_is_kept(folder)
            raise
        except KeyboardInterrupt:
            keep = output is not None and self._job_is_kept(folder)
            if keep:
                self.reporter.note("`--resume` with the same command resumes from here")
            raise
        finally:
            rows.close(remove=not keep)
        return result

    @contextmanager
    def _output_rows(self, rows: VectorWriter) -> Iterator[tuple[VectorWriter, list[int] | None]]:
        """Yield the rows to write, and their lengths if they are groups of records."""
        if self.request.group is None:
            yield rows, None
            return
        vectors = rows.finish()
        pooled, lengths = pool_genomes(
            rows, vectors, self.look, self.request.group, self.request.dtype
        )
        try:
            yield pooled, lengths
        finally:
            pooled.close(remove=False)

    def _job_is_kept(self, folder: Path) -> bool:
        return (folder / "state.json").is_file()

    def _fill(self, rows: VectorWriter) -> None:
        look = self.look
        groups = self._groups(islice(look.read(), rows.num_records, None), rows)
        is_char = self.embedder.loaded.tokenizer.one_token_per_base
        several = len(self.devices) > 1
        total = look.num_bases * (1 if several else self.embedder.num_passes) if is_char else None
        unit = "bases" if is_char or several else "tokens"
        with self.reporter.track("embedding", total, unit) as tracker:
            if not several:
                batches = embed_serial(self.embedder, groups, tracker)
            else:
                batches = embed_parallel(self._pool_job(), groups, tracker)
            for _ in batches:
                rows.commit()

    def _pool_job(self) -> WorkerJob:
        return WorkerJob(
            folder=self.embedder.loaded.folder,
            options=self.request.choices,
            devices=self.devices,
            precision=self.precision,
            threads=self.request.workers,
        )

    def _groups(self, queries: Iterator[Query], rows: VectorWriter) -> Iterator[_Group]:
        """Yield groups of records, large enough to sort by length and small enough for memory.

        Groups do not depend on the number of GPUs, so that results are bitwise equal.
        """
        per_base = self.request.choices.per_base
        bytes_of_row = (_BASE_BYTES if per_base else _POOLED_BYTES) * self.embedder.width
        most_rows = max(1, _BYTES_OF_ROWS // bytes_of_row)
        most = min(_BASES, most_rows) if per_base else _BASES
        most_records = _RECORDS if per_base else min(_RECORDS, most_rows)
        group, num_bases = _Group([], [], [], rows, per_base), 0
        for query in queries:
            is_full = num_bases + query.codes.size > most or len(group.ids) == most_records
            if group.ids and is_full:
                yield group
                group, num_bases = _Group([], [], [], rows, per_base), 0
            group.ids.append(query.id)
            group.codes.append(query.codes)
            if query.context is not None:
                group.contexts.append(query.context)
            num_bases += query.codes.size
        if group.ids:
            yield group

    def _finish(
        self,
        rows: VectorWriter,
        lengths: list[int] | None,
        done_before: int,
        stream: IO[bytes] | None,
    ) -> EmbedResult:
        request = self.request
        array = rows.finish()
        plane = project(array, request.plane) if request.plane else None
        ids: tuple[str, ...] = ()
        is_npy = request.output is None or request.output.suffix.lower() == ".npy"
        if plane or not is_npy:
            ids = tuple(name for name, _ in rows.records())
        if request.ids is not None:
            save_ids(request.ids, rows, request.sources, self.look, lengths)
        if request.output is None:
            assert stream is not None
            rows.copy_to(stream)
        else:
            table = None
            if not is_npy:
                regions = None if lengths else read_regions(request.sources, self.look)
                table = VectorTable(
                    array, ids, rows.sizes, request.choices.per_base, regions, self._described
                )
            self._put_in_place(rows, table, request.output)
        return EmbedResult(
            rows=rows.num_rows,
            width=rows.width,
            model=self.embedder.loaded.folder,
            precision=self.precision,
            num_records=rows.num_records,
            done_before=done_before,
            ids=ids if plane else (),
            plane=plane,
        )

    def _put_in_place(self, rows: VectorWriter, table: VectorTable | None, output: Path) -> None:
        """Replace the output and then its sidecar, so that a kill in between loses nothing.

        The new sidecar is in the partial folder until the array is replaced; the old one is removed
        first.
        """
        waiting = rows.folder / FINISHED
        array_path = rows.path
        if table is not None:
            array_path = rows.folder / f"table{output.suffix.lower()}"
            write_table(table, array_path)
        facts = {
            "rows": rows.num_rows,
            "width": rows.width,
            "records": rows.num_records,
            "records_without_vector": len(self.look.odd),
            "job": self._job,
            "output": identify_file(array_path),
        }
        if self.request.ids is not None:
            facts["ids"] = identify_file(self.request.ids)
        write_json(waiting, with_checksum({**self._described, **facts}))
        try:
            sidecar(output).unlink(missing_ok=True)
        except OSError as failure:
            raise explain_write_failure(sidecar(output), failure) from failure
        if table is None:
            rows.rename_to(output)
        else:
            move_into_place(array_path, output)
        move_into_place(waiting, sidecar(output))

    def _finished(self, output: Path, folder: Path) -> EmbedResult | None:
        """Return the result of an earlier run of the same job, if its files are as it left them."""
        if self.request.plane:
            return None
        for place in (sidecar(output), folder / FINISHED):
            facts = read_finished(place, self._job)
            if facts is None:
                continue
            changed = [
                path
                for path, recorded in ((output, facts.output), (self.request.ids, facts.ids))
                if path is not None and not is_unchanged(path, recorded)
            ]
            if changed:
                if place == sidecar(output):
                    self.reporter.warn(
                        f"`{changed[0]}` was changed after the job finished: starting over"
                    )
                continue
            if place != sidecar(output):
                move_into_place(place, sidecar(output))
            shutil.rmtree(folder, ignore_errors=True)
            self.reporter.note(f"`{output}` is finished already")
            return EmbedResult(
                rows=facts.rows,
                width=facts.width,
                model=self.embedder.loaded.folder,
                precision=self.precision,
                num_records=facts.records,
                done_before=facts.rows,
            )
        return None
