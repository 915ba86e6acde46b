"""Write sequences with a causal model, or fill the gaps of sequences with another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from genomeformer_cli.core.annotation.sources import SequenceSources
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.core.formats.sequences import Query
from genomeformer_cli.core.generation.continue_sequences import (
    GenerationOptions,
    check_writer,
    continue_sequence,
)
from genomeformer_cli.core.generation.fill_gaps import FillingOptions, check_filler, fill_gaps
from genomeformer_cli.core.generation.training_viruses import suspected_virus
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.resolve import model_folder
from genomeformer_cli.core.reporting import Reporter
from genomeformer_cli.core.sequence import Codes
from genomeformer_cli.core.store.layout import Store
from genomeformer_cli.core.workflows.devices import choose_device, set_threads
from genomeformer_cli.core.workflows.sources import RowCheck, look_through

_EMPTY_PROMPT = "generated"


@dataclass(frozen=True, kw_only=True)
class GenerateRequest:
    """Request to write sequences, or to fill gaps."""

    model: str | None = None  # Model, see `core/model_io/resolve.py`; None: `default`.
    prompts: SequenceSources | None = None  # Starts of the sequences; None: an empty one.
    options: GenerationOptions = field(default_factory=GenerationOptions)
    filling: FillingOptions | None = None  # Fill the N of the prompts instead of continuing them.
    device: str = "auto"  # `auto`, `cpu`, or a torch device.
    threads: int | None = None  # CPU threads; None: all usable cores.


@dataclass(frozen=True, kw_only=True)
class GeneratedRecord:
    """Generated record."""

    id: str  # Id of the prompt; with several copies, and their number.
    codes: Codes  # Base codes, the prompt included.
    prompt: tuple[int, int] | None  # First base of the prompt, from 0, and its end; None: filled.
    num_generated: int  # Number of generated bases.
    num_scored: int  # Bases whose probabilities count.
    # Sum of the natural logarithms of these probabilities.
    log_likelihood: float


def load_generator(
    request: GenerateRequest, *, reporter: Reporter, store: Store | None = None
) -> LoadedModel:
    """Load the model onto its device.

    Raises:
        NotInCacheError, CheckpointError, CorruptError: The model cannot be loaded.
        ConfigError: The model cannot do what is requested.
        UsageError: There is nothing to fill.
    """
    if request.filling is not None and request.prompts is None:
        raise UsageError("nothing to fill", hint="give a FASTA file whose sequences hold N")
    set_threads(request.threads)
    loaded = read_model(model_folder(request.model, store=store or Store(), reporter=reporter))
    if request.filling is None:
        check_writer(loaded)
    else:
        check_filler(loaded)
    virus = suspected_virus(loaded.folder)
    if virus is not None:
        reporter.warn(
            f"the model was trained on viruses that may infect eukaryotes, such as `{virus}`: do "
            "not synthesise its output; the guide names good practice"
        )
    device = choose_device(request.device, reporter)
    loaded.model.to(device)
    if device.type != "mps":
        # In double precision, rounding does not change the choice of a base: the same seed gives
        # the same bytes for any number of rows or threads.
        loaded.model.double()
    return loaded


def generate_records(
    loaded: LoadedModel, request: GenerateRequest, reporter: Reporter
) -> Iterator[GeneratedRecord]:
    """Yield the generated records, in the order of the prompts.

    Raises:
        FastaError, AlphabetError, InputError: The prompts are invalid.
        CheckpointError: A number of the model is not finite.
    """
    for number, query in enumerate(_prompts(request, reporter)):
        if request.filling is not None:
            yield _filled(loaded, request.filling, query, number, reporter)
        else:
            yield from _continued(loaded, request.options, query, number, reporter)


def _continued(
    loaded: LoadedModel,
    options: GenerationOptions,
    query: Query,
    number: int,
    reporter: Reporter,
) -> Iterator[GeneratedRecord]:
    total = options.length * options.number * (2 if options.both_sides else 1)
    with reporter.track(f"writing {query.id}", total, "bases") as tracker:
        sequences = continue_sequence(
            loaded, query.codes, options, record=number, progress=tracker.advance
        )
        for copy, sequence in enumerate(sequences, start=1):
            yield GeneratedRecord(
                id=query.id if options.number == 1 else f"{query.id}_{copy}",
                codes=sequence.codes,
                prompt=(sequence.prompt_start, sequence.prompt_start + sequence.prompt_size),
                num_generated=sequence.codes.size - sequence.prompt_size,
                num_scored=sequence.num_scored,
                log_likelihood=sequence.log_likelihood,
            )


def _filled(
    loaded: LoadedModel, options: FillingOptions, query: Query, number: int, reporter: Reporter
) -> GeneratedRecord:
    with reporter.track(f"filling {query.id}", None, "bases") as tracker:
        filled = fill_gaps(loaded, query.codes, options, record=number, progress=tracker.advance)
    if not filled.num_filled:
        reporter.warn(f"record `{query.id}` holds no N: it is unchanged")
    return GeneratedRecord(
        id=query.id,
        codes=filled.codes,
        prompt=None,
        num_generated=filled.num_filled,
        num_scored=filled.num_filled,
        log_likelihood=filled.log_likelihood,
    )


def _prompts(request: GenerateRequest, reporter: Reporter) -> Iterator[Query]:
    if request.prompts is None:
        yield Query(id=_EMPTY_PROMPT, codes=np.zeros(0, dtype=np.uint8))
        return
    with ExitStack() as stack:
        look = look_through(
            request.prompts,
            store=Store(),
            stack=stack,
            reporter=reporter,
            check=RowCheck(has_token=lambda _: True),
        )
        yield from look.read()
