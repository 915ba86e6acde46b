"""`genomeformer release`."""

from __future__ import annotations

from genomeformer_cli.commands._options import JsonOption
from genomeformer_cli.core.errors import UsageError
from genomeformer_cli.render import release_options as o

EXAMPLE = "Example:  genomeformer release demo-performer --name gf-performer-char-1m -o bundle/"


def command(
    run: o.SourceArgument = None,
    *,
    name: o.NameOption = None,
    output: o.OutputOption = None,
    replace: o.ReplaceOption = False,
    onnx: o.OnnxOption = False,
    weights: o.WeightsOption = "auto",
    dtype: o.DtypeOption = "fp32",
    quantize: o.QuantizeOption = None,
    layers: o.LayersOption = "last",
    evaluation: o.EvaluationOption = None,
    notes: o.NotesOption = None,
    author: o.AuthorOption = None,
    license_id: o.LicenseOption = "apache-2.0",
    license_file: o.LicenseFileOption = None,
    sign: o.SignOption = None,
    archive: o.ArchiveOption = None,
    push: o.PushOption = None,
    public: o.PublicOption = False,
    dry_run: o.DryRunOption = False,
    verify: o.VerifyOption = None,
    key: o.KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Release a run: weights, tokenizer, model card and checksums, read back and compared."""
    if (run is None) == (verify is None) or (key is not None and verify is None):
        raise UsageError(
            "either a run to release, or `--verify` with or without `--key`",
            hint=EXAMPLE.removeprefix("Example:  "),
        )
    from pathlib import Path

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
        request = ReleaseRequest(
            run=run,
            name=name,
            output=output,
            replace=replace,
            weights=weights,
            storage=Storage(dtype=dtype, quantize=quantize),
            layers=layers,
            evaluations=tuple(evaluation or ()),
            notes=notes,
            authors=tuple(author or ()),
            licence=license_id,
            licence_file=license_file,
            onnx=onnx,
            sign=sign,
        )
        if bundle is not None:
            carry.check_run_options(request)
        publish = carry.PublishRequest(
            bundle=bundle or Path(),
            output=output if bundle is not None else None,
            onnx=onnx and bundle is not None,
            sign=sign if bundle is not None else None,
            archive=archive,
            push=push,
            public=public,
            rehearse=dry_run,
        )
        carry.check_publication(publish)
        with lock_outputs(output, archive, reporter=reporter):
            made = release_run(request, reporter=reporter) if bundle is None else None
            published = carry.publish_released(publish, made)
    result = runs.release_json(made, published)
    show(result, runs.render_release(made, published), as_json=as_json)
