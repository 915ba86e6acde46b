"""`genomeformer embed`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.ui.options import DeviceOption, JsonOption, ThreadsOption

EXAMPLE = (
    "Example:  genomeformer embed promoters.fa --model demo-performer --ids ids.txt > promoters.npy"
)


def command(
    source: Annotated[
        str,
        Argument(help="FASTA or FASTQ, plain or .gz; `-` reads standard input.", metavar="FASTA"),
    ],
    *,
    model: Annotated[str, Option(help="A released model or run in the cache, or its folder.")],
    output: Annotated[
        Path | None,
        Option("-o", "--output", help="Write the array here instead of to standard output."),
    ] = None,
    ids: Annotated[
        Path | None, Option(help="Write the ids here, one a line, in the order of the rows.")
    ] = None,
    window: Annotated[
        int | None,
        Option(
            help="Longest stretch seen at once; longer sequences are cut and averaged. "
            "Default: the training context."
        ),
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn sequences into vectors: a float32 .npy array, one row a record, in input order."""
    if output is None and as_json:
        raise UsageError(
            "standard output cannot hold both the array and JSON",
            hint="give the array a file with `-o`",
        )
    if output is None and sys.stdout.isatty():
        raise UsageError(
            "an array would garble the terminal",
            hint="redirect it, as in `> vectors.npy`, or give `-o`",
        )
    from genomeformer_cli.core.embedding.writers import save_ids, save_npy, write_npy
    from genomeformer_cli.core.workflows.embed import EmbedRequest, embed_sequences
    from genomeformer_cli.ui.console import show
    from genomeformer_cli.ui.progress import terminal_reporter

    request = EmbedRequest(
        source=source, model=model, window=window, device=device, threads=threads
    )
    with terminal_reporter() as reporter:
        result = embed_sequences(request, reporter=reporter)
        if output is None:
            write_npy(result.vectors_NE, sys.stdout.buffer)
        else:
            save_npy(result.vectors_NE, output)
        if ids is not None:
            save_ids(result.ids, ids)
    if output is None:
        return
    rows, width = result.vectors_NE.shape
    text = f"{output}: {rows} rows of {width}"
    shown = {"output": output, "rows": rows, "width": width, "model": result.model}
    show(shown, text, as_json=as_json)
