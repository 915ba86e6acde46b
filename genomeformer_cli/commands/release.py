"""`genomeformer release`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from genomeformer_cli.commands._completion import complete_release_sources
from genomeformer_cli.commands._options import (
    DRY_RUN_HELP,
    DTYPE_HELP,
    LAYERS_HELP,
    NAME_HELP,
    OUTPUT_HELP,
    JsonOption,
    ReplaceOption,
)
from genomeformer_cli.commands._outputs import named_output
from genomeformer_cli.core.errors import UsageError

EXAMPLE = "Example:  genomeformer release demo-performer --name gf-performer-char-1m -o bundle/"
_WEIGHTS, _CARD, _BUNDLE, _SHARING, _CHECK = "Weights", "Card", "Bundle", "Sharing", "Check"


def command(
    run: Annotated[
        str | None,
        Argument(
            help="Finished run in the cache, or folder of one of its checkpoints; or a bundle to "
            "copy, sign, pack or push: `default`, `weights/NAME` or a folder.",
            metavar="RUN",
            autocompletion=complete_release_sources,
            show_default=False,
        ),
    ] = None,
    *,
    name: Annotated[
        str | None,
        Option(
            help=f"{NAME_HELP} Default: the name of the run.",
            show_default=False,
            rich_help_panel=_BUNDLE,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        Option(
            "-o",
            "--output",
            callback=named_output,
            help=f"{OUTPUT_HELP} A folder for a copy of the bundle.",
            rich_help_panel=_BUNDLE,
        ),
    ] = None,
    replace: ReplaceOption = False,
    onnx: Annotated[
        bool,
        Option(
            "--onnx",
            help="Add `model.onnx`, compared with the model by onnxruntime; needs the extra "
            "`onnx`.",
            rich_help_panel=_BUNDLE,
        ),
    ] = False,
    weights: Annotated[
        Literal["auto", "last", "average"],
        Option(
            help="Last weights, or their average (`training.ema`); `auto`: whichever predicts "
            "held-out bases better.",
            rich_help_panel=_WEIGHTS,
        ),
    ] = "auto",
    dtype: Annotated[
        Literal["fp32", "bf16", "fp16", "int8"], Option(help=DTYPE_HELP, rich_help_panel=_WEIGHTS)
    ] = "fp32",
    layout: Annotated[
        Literal["genomeformer", "transformers"],
        Option(
            "--as",
            help="Names of settings and tensors; `transformers`: those of a stock class, for "
            "softmax models of its form.",
            rich_help_panel=_WEIGHTS,
        ),
    ] = "genomeformer",
    layers: Annotated[
        list[str] | None,
        Option(
            help=f"{LAYERS_HELP} Default: `last`.", show_default=False, rich_help_panel=_WEIGHTS
        ),
    ] = None,
    evaluation: Annotated[
        list[Path] | None,
        Option(
            help="Folder written by `evaluate`, whose numbers and pictures the card shows; may be "
            "repeated.",
            show_default=False,
            rich_help_panel=_CARD,
        ),
    ] = None,
    notes: Annotated[
        Path | None,
        Option(
            help="Markdown file for the end of the card.", show_default=False, rich_help_panel=_CARD
        ),
    ] = None,
    author: Annotated[
        list[str] | None,
        Option(help="Author to cite; may be repeated.", show_default=False, rich_help_panel=_CARD),
    ] = None,
    license_id: Annotated[
        str | None,
        Option(
            "--license",
            help="SPDX id of the licence of the weights, default `apache-2.0`; of a fine-tuned "
            "model, if its base states none.",
            metavar="ID",
            show_default=False,
            rich_help_panel=_CARD,
        ),
    ] = None,
    license_file: Annotated[
        Path | None,
        Option(
            help="Text of the licence, needed unless it is Apache-2.0.",
            show_default=False,
            rich_help_panel=_CARD,
        ),
    ] = None,
    sign: Annotated[
        Path | None,
        Option(
            help="Sign with this Ed25519 private key (PEM or OpenSSH); needs the extra `sign`.",
            metavar="KEY",
            show_default=False,
            rich_help_panel=_SHARING,
        ),
    ] = None,
    archive: Annotated[
        Path | None,
        Option(
            help="Pack the bundle into this `.tar.gz`.",
            show_default=False,
            rich_help_panel=_SHARING,
        ),
    ] = None,
    push: Annotated[
        str | None,
        Option(
            help="Push the bundle to this repository of the Hub, private; with the token of "
            "`HF_TOKEN` or `hf auth login`.",
            metavar="ORG/NAME",
            show_default=False,
            rich_help_panel=_SHARING,
        ),
    ] = None,
    public: Annotated[
        bool,
        Option(
            "--public", help="With `--push`: make the repository public.", rich_help_panel=_SHARING
        ),
    ] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help=DRY_RUN_HELP, rich_help_panel=_SHARING)
    ] = False,
    verify: Annotated[
        str | None,
        Option(
            help="Model to verify. A bundle, given as for `--model`: its files and checksums; "
            "it is loaded.",
            metavar="BUNDLE",
            show_default=False,
            rich_help_panel=_CHECK,
        ),
    ] = None,
    key: Annotated[
        Path | None,
        Option(
            help="With `--verify`: Ed25519 public key of the required signature.",
            show_default=False,
            rich_help_panel=_CHECK,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Release a run: weights, tokenizer, model card and checksums, read back and compared."""
    if (run is None) == (verify is None) or (key is not None and verify is None):
        raise UsageError(
            "no run is given, or a run and `--verify` or `--key`",
            hint=EXAMPLE.removeprefix("Example:  "),
        )
    from genomeformer_cli.core.model_io.bundle_layout import is_finetuned
    from genomeformer_cli.core.model_io.embedding_rule import parse_recommended
    from genomeformer_cli.core.release.citation import DEFAULT_LICENCE
    from genomeformer_cli.core.release.storage import Storage
    from genomeformer_cli.core.store.output_lock import lock_outputs
    from genomeformer_cli.core.workflows import release_publish as carry
    from genomeformer_cli.core.workflows.release import ReleaseRequest, release_run
    from genomeformer_cli.render import runs
    from genomeformer_cli.render.console import show
    from genomeformer_cli.render.progress import terminal_reporter

    with terminal_reporter() as reporter:
        if verify is not None:
            checked = carry.check_bundle(verify, key, reporter=reporter)
            show(checked, runs.render_checked_bundle(checked), as_json=as_json)
            return
        assert run is not None
        bundle = carry.find_bundle(run)
        tuned = bundle is not None and is_finetuned(bundle)
        request = ReleaseRequest(
            run=run,
            name=name,
            output=output,
            replace=replace,
            weights=weights,
            storage=Storage(quantize="int8") if dtype == "int8" else Storage(dtype=dtype),
            layout=layout,
            layers=parse_recommended(layers or ()),
            evaluations=tuple(evaluation or ()),
            notes=notes,
            authors=tuple(author or ()),
            licence=DEFAULT_LICENCE if tuned else license_id or DEFAULT_LICENCE,
            licence_file=None if tuned else license_file,
            onnx=onnx,
            sign=sign,
        )
        if bundle is not None:
            carry.check_run_options(request)
        publish = carry.PublishRequest(
            bundle=bundle or Path(),
            output=output if bundle is not None else None,
            onnx=onnx and bundle is not None,
            licence=license_id if tuned else None,
            licence_file=license_file if tuned else None,
            sign=sign if bundle is not None else None,
            archive=archive,
            push=push,
            public=public,
            rehearse=dry_run,
        )
        carry.check_publication(publish)
        with lock_outputs(output, archive, reporter=reporter):
            release = release_run(request, reporter=reporter) if bundle is None else None
            published = carry.publish_released(publish, release)
    result = runs.release_json(release, published)
    show(result, runs.render_release(release, published), as_json=as_json)
