"""The same model for ONNX runtimes: `input_ids` (batch, length) in, `logits` and `features` out.

Exported by torch, then run by onnxruntime on several shapes and compared. Rows of a batch must be
of one length, without padding: what a mask does depends on the mechanism, and none is exported.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genomeformer_cli.core.checkpoints.weights import LoadedModel
from genomeformer_cli.core.errors import CheckpointError, MissingExtraError
from genomeformer_cli.core.model.build import Model
from genomeformer_cli.core.store.atomic import atomic_file

INPUT, OUTPUTS = "input_ids", ("logits", "features")
LARGEST_DIFFERENCE = 1e-4
_HINT = "leave out `--onnx`; the model loads in torch everywhere"
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def need_onnx() -> None:
    """Make sure that a model can be exported and checked.

    Raises:
        MissingExtraError: The extra `onnx` is not installed.
    """
    for package in _PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError as failure:
            raise MissingExtraError(
                f"an ONNX file needs the package `{package}`",
                hint="install it with `pip install 'genomeformer[onnx]'`",
            ) from failure


class _Whole(nn.Module):
    """Both answers of a model, from token ids alone."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        features_BLE = self.model.hidden(input_ids, None)
        return self.model.logits(features_BLE), features_BLE


def export_onnx(loaded: LoadedModel, path: Path) -> None:
    """Write a model as ONNX, any batch and any length, and make sure that it says the same.

    Raises:
        CheckpointError: The mechanism cannot be exported, or the file says something else.
        StoreError: It cannot be written.
    """
    whole = _Whole(loaded.model).eval()
    content = _exported(whole, loaded)
    try:
        difference = largest_difference(content, whole, loaded)
    except Exception as failure:
        raise CheckpointError(
            f"`{loaded.model.config.attention.name}` attention was exported to ONNX for one shape "
            f"only: {_first_line(failure)}",
            hint=_HINT,
        ) from failure
    if not difference <= LARGEST_DIFFERENCE:
        raise CheckpointError(f"the ONNX file differs from the model by {difference:g}", hint=_HINT)
    with atomic_file(path) as file:
        file.write(content)


def _exported(whole: _Whole, loaded: LoadedModel) -> bytes:
    onnx = importlib.import_module("onnx")
    context = loaded.model.config.context
    tokens_BL = _tokens(loaded, 3, context)
    shapes = ({0: torch.export.Dim("batch"), 1: torch.export.Dim("length")},)
    with tempfile.TemporaryDirectory(prefix="genomeformer-") as place, _quiet():
        file = Path(place) / "model.onnx"
        try:
            program = torch.onnx.export(
                whole,
                (tokens_BL,),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
            )
            assert program is not None
            program.save(str(file))
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as failure:
            raise CheckpointError(
                f"`{loaded.model.config.attention.name}` attention cannot be exported to ONNX: "
                f"{_first_line(failure)}",
                hint=_HINT,
            ) from failure
        model = onnx.load(str(file))
    _forget_where_it_was_made(model)
    return bytes(model.SerializeToString())


def _first_line(failure: BaseException) -> str:
    cause = failure.__cause__ or failure
    return next((line.strip() for line in str(cause).splitlines() if line.strip()), repr(cause))


def _forget_where_it_was_made(model: Any) -> None:
    """Drop what the exporter says of source files: it names folders of this machine."""
    model.doc_string = ""
    del model.metadata_props[:]
    for graph in (model.graph, *model.functions):
        graph.doc_string = ""
        del graph.metadata_props[:]
        values = [*graph.input, *graph.output] if graph is model.graph else []
        infos = [*graph.value_info, *(model.graph.initializer if graph is model.graph else ())]
        for part in (*graph.node, *values, *infos):
            part.doc_string = ""
            del part.metadata_props[:]


def largest_difference(content: bytes, whole: _Whole, loaded: LoadedModel) -> float:
    """Between what onnxruntime and torch say, over several shapes."""
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    context = loaded.model.config.context
    largest = 0.0
    for rows, length in ((1, context), (2, context // 2 + 1), (5, 7)):
        tokens_BL = _tokens(loaded, rows, max(length, 1))
        with torch.inference_mode():
            expected = whole(tokens_BL)
        found = session.run(list(OUTPUTS), {INPUT: tokens_BL.numpy()})
        for one, other in zip(found, expected, strict=True):
            largest = max(largest, float(np.abs(one - other.numpy()).max()))
    return largest


def _tokens(loaded: LoadedModel, rows: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(rows * length)
    real = loaded.tokenizer.real_ids
    return torch.randint(real.start, real.stop, (rows, length), generator=generator)


@contextlib.contextmanager
def _quiet() -> Any:
    """The exporter talks on every stream; what matters it raises."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
