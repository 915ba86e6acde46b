"""`genomeformer predict`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from genomeformer_cli.commands._completion import complete_released
from genomeformer_cli.commands._options import DeviceOption, JsonOption, ThreadsOption
from genomeformer_cli.core.errors import UsageError

EXAMPLE = "Example:  genomeformer predict promoters.fa --model demo-promoters > answers.tsv"


def command(
    sources: Annotated[
        list[str],
        Argument(
            help="FASTA, FASTQ or a table with a column `sequence`, plain or compressed; `-` reads "
            "standard input; or names of cached genomes.",
            metavar="FASTA...",
        ),
    ],
    *,
    model: Annotated[
        str,
        Option(
            help="A fine-tuned model in the cache, or its folder.", autocompletion=complete_released
        ),
    ],
    output: Annotated[
        Path | None, Option("-o", "--output", help="Write here instead of to standard output.")
    ] = None,
    per_base: Annotated[
        str,
        Option(
            help="Labels of bases: `string`: one row per sequence, one letter per base; `rows`: "
            "one row per base, with probabilities."
        ),
    ] = "string",
    toks_per_batch: Annotated[
        int | None,
        Option(min=1, help="Tokens computed at once: memory, not the result.", show_default=False),
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Apply a fine-tuned model: labels and probabilities, tab-separated, in input order."""
    if per_base not in ("string", "rows"):
        raise UsageError(f"`{per_base}` is no form of labels", hint="`string` or `rows`")
    from genomeformer_cli.core.store.atomic import atomic_file
    from genomeformer_cli.core.store.output_lock import lock_outputs
    from genomeformer_cli.core.workflows import predict as workflow
    from genomeformer_cli.render.console import data_stream
    from genomeformer_cli.render.progress import terminal_reporter
    from genomeformer_cli.render.rows import prediction_lines

    request = workflow.PredictRequest(
        files=tuple(sources),
        model=model,
        tokens_per_batch=toks_per_batch,
        device=device,
        threads=threads,
    )
    with terminal_reporter() as reporter, ExitStack() as stack:
        stack.enter_context(lock_outputs(output, reporter=reporter))
        predictor = workflow.load_predictor(request, reporter=reporter)
        predictions = workflow.predict_sequences(predictor, request, reporter=reporter)
        lines = prediction_lines(
            predictor.task, predictions, by_base=per_base == "rows", as_json=as_json
        )
        first = next(lines)
        out = stack.enter_context(atomic_file(output)) if output else data_stream()
        out.write(first)
        out.writelines(lines)
