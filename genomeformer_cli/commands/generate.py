"""`genomeformer generate`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from typer import Context, Option

from genomeformer_cli.commands._options import (
    OUTPUT_HELP,
    SEED_HELP,
    DeviceOption,
    ModelOption,
    ThreadsOption,
    is_given,
)
from genomeformer_cli.commands._outputs import check_suffix, standard_output
from genomeformer_cli.commands._sources import SourcesArgument, given_sources
from genomeformer_cli.core.errors import UsageError

EXAMPLE = "Example:  genomeformer generate starts.fa --model writer --bases 500 > written.fa"
_FASTA = (".fa", ".fasta", ".fna", ".fas", ".ffn", ".txt")
_CHOICE = "Choice of bases"
_OF_CONTINUATION = ("bases", "num", "both_sides")


def command(
    context: Context,
    sources: SourcesArgument = None,
    *,
    model: ModelOption = None,
    bases: Annotated[int, Option(min=1, help="Bases to write after every prompt.")] = 1_000,
    num: Annotated[int, Option(min=1, help="Sequences to write per prompt.")] = 1,
    both_sides: Annotated[
        bool,
        Option(
            "--both-sides",
            help="Also write `--bases` before every prompt: its reverse complement is continued.",
        ),
    ] = False,
    infill: Annotated[
        bool,
        Option("--infill", help="Fill the N of the sequences, with a model that sees both sides."),
    ] = False,
    rounds: Annotated[
        int, Option(min=1, help="With `--infill`: rounds, the most certain bases first.")
    ] = 16,
    temperature: Annotated[
        float,
        Option(
            min=0,
            help="Below 1, probable bases are preferred; 0 always takes the most probable one.",
            rich_help_panel=_CHOICE,
        ),
    ] = 1.0,
    top_k: Annotated[
        int | None,
        Option(
            min=1,
            help="Choose among this many most probable tokens.",
            show_default=False,
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        Option(
            min=0,
            max=1,
            help="Choose among the most probable tokens that together reach this probability.",
            show_default=False,
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    seed: Annotated[int, Option(min=0, help=SEED_HELP, rich_help_panel=_CHOICE)] = 0,
    output: Annotated[
        Path | None,
        Option(
            "-o",
            "--output",
            callback=standard_output,
            help=f"{OUTPUT_HELP} Default: standard output.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Write sequences with a causal model, or fill the N of sequences, as FASTA."""
    from genomeformer_cli.core.generation.continue_sequences import GenerationOptions
    from genomeformer_cli.core.generation.fill_gaps import FillingOptions
    from genomeformer_cli.core.generation.sampling import SamplingOptions
    from genomeformer_cli.core.store.atomic import atomic_file
    from genomeformer_cli.core.store.output_lock import lock_outputs
    from genomeformer_cli.core.workflows import generate as workflow
    from genomeformer_cli.render.console import data_stream
    from genomeformer_cli.render.progress import terminal_reporter
    from genomeformer_cli.render.sequences import fasta_record

    _check_purpose(context, fills=infill)
    check_suffix(output, _FASTA)
    sampling = SamplingOptions(temperature=temperature, top_k=top_k, top_p=top_p)
    request = workflow.GenerateRequest(
        model=model,
        prompts=given_sources(context) if sources else None,
        options=GenerationOptions(
            length=bases, number=num, both_sides=both_sides, seed=seed, sampling=sampling
        ),
        filling=FillingOptions(rounds=rounds, seed=seed, sampling=sampling) if infill else None,
        device=device,
        threads=threads,
    )
    with terminal_reporter() as reporter, ExitStack() as stack:
        stack.enter_context(
            lock_outputs(
                output,
                reporter=reporter,
                inputs=request.prompts.inputs if request.prompts is not None else (),
            )
        )
        loaded = workflow.load_generator(request, reporter=reporter)
        out = stack.enter_context(atomic_file(output)) if output else data_stream()
        for record in workflow.generate_records(loaded, request, reporter):
            out.write(fasta_record(record))


def _check_purpose(context: Context, *, fills: bool) -> None:
    """Refuse options that would have no effect."""
    for name in _OF_CONTINUATION if fills else ("rounds",):
        if is_given(context, name):
            option = name.replace("_", "-")
            raise UsageError(
                f"`--{option}` has no effect {'with' if fills else 'without'} `--infill`",
                hint=f"leave `--{option}` out: "
                + ("gaps keep their length" if fills else "bases are written one after another"),
            )
