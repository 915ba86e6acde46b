"""Export to ONNX: `input_ids` (batch, length) in, `logits` and `features` out.

The features are those of the default layers of `embed`. Shorter rows of a batch end in [PAD], where
outputs are undefined. torch exports the model with the mechanisms of `onnx_forms`; onnxruntime runs
the file on several shapes, odd and padded ones included, and the outputs are compared.
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

import torch
from torch import Tensor, nn

from genomeformer_cli.core.embedding.features import combine_layers
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.errors import CheckpointError, MissingExtraError
from genomeformer_cli.core.model_io.model_folder import LoadedModel
from genomeformer_cli.core.models.protocol import Model
from genomeformer_cli.core.release.onnx_forms import in_plain_form, without_form
from genomeformer_cli.core.store.atomic import atomic_file
from genomeformer_cli.core.tokenizers.protocol import real_id_range

INPUT, OUTPUTS = "input_ids", ("logits", "features")
LARGEST_DIFFERENCE = 1e-4
_HINT = "leave out `--onnx`; the model loads in torch everywhere"
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def need_onnx() -> None:
    """Check that a model can be exported and verified.

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


class _ExportedModel(nn.Module):
    """Both outputs of a model from token ids; [PAD] at the end of a row is masked.

    Args:
        model: Model.
        layers: Layers of the features, in the syntax of `rows.layers` of `embed`.
        pad_id: Id of padding.
    """

    def __init__(self, model: Model, layers: str, pad_id: int) -> None:
        super().__init__()
        self._pad_id = pad_id
        self.model = model
        self._numbers = EmbedOptions(layers=layers).layer_numbers(model.config.depth)
        self._mean = layers == "mean"

    def forward(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        mask_BL = input_ids != self._pad_id
        hidden_BLE = self.model.hidden(input_ids, mask_BL)
        features_BLE = hidden_BLE
        if self._numbers != (self.model.config.depth,):
            layers = self.model.hidden_layers(input_ids, mask_BL, self._numbers)
            features_BLE = combine_layers(layers, mean=self._mean)
        return self.model.logits(hidden_BLE), features_BLE


def export_onnx(loaded: LoadedModel, path: Path) -> None:
    """Write a model as ONNX, for any batch and length, and compare its outputs with the model's.

    Raises:
        CheckpointError: The mechanism cannot be exported, or the outputs differ.
        StoreError: The file cannot be written.
    """
    name = loaded.model.config.mechanism
    missing = without_form(loaded.model)
    if missing is not None:
        raise CheckpointError(
            f"`{name}` attention cannot be exported to ONNX: {missing} branches on values or "
            "on the length, which a static graph cannot",
            hint=_HINT,
        )
    content = _exported(loaded)
    try:
        difference = largest_difference(content, loaded)
    except Exception as failure:
        raise CheckpointError(
            f"`{name}` attention was exported to ONNX, but does not run: {_first_line(failure)}",
            hint=_HINT,
        ) from failure
    if not difference <= LARGEST_DIFFERENCE:
        raise CheckpointError(f"the ONNX file differs from the model by {difference:g}", hint=_HINT)
    with atomic_file(path) as file:
        file.write(content)


def _exported(loaded: LoadedModel) -> bytes:
    onnx = importlib.import_module("onnx")
    config = loaded.model.config
    whole = _ExportedModel(
        in_plain_form(loaded.model), loaded.layers, loaded.tokenizer.pad_id
    ).eval()
    # What the exporter derives of lengths holds from here on; shorter rows are only run and
    # compared, which is proof enough.
    shortest = 2 * config.patch + 2
    tokens_BL = _tokens(loaded, 3, max(config.context, shortest + 1))
    longest = None if loaded.model.max_positions is None else config.context
    length = torch.export.Dim("length", min=shortest, max=longest)
    dims = {0: torch.export.Dim("batch"), 1: length}
    with tempfile.TemporaryDirectory(prefix="genomeformer-") as place, _quiet():
        file = Path(place) / "model.onnx"
        try:
            graph = torch.export.export(
                whole,
                (tokens_BL,),
                dynamic_shapes=(dims,),
                prefer_deferred_runtime_asserts_over_guards=True,
            )
            program = torch.onnx.export(
                graph, dynamo=True, input_names=[INPUT], output_names=list(OUTPUTS)
            )
            assert program is not None
            program.save(str(file))
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as failure:
            raise CheckpointError(
                f"`{config.mechanism}` attention cannot be exported to ONNX: "
                f"{_first_line(failure)}",
                hint=_HINT,
            ) from failure
        model = onnx.load(str(file))
    _drop_source_locations(model)
    return bytes(model.SerializeToString())


def _first_line(failure: BaseException) -> str:
    cause = failure.__cause__ or failure
    return next((line.strip() for line in str(cause).splitlines() if line.strip()), repr(cause))


def _drop_source_locations(model: Any) -> None:
    """Remove the exporter's notes on source files, which name folders of this machine."""
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


def largest_difference(content: bytes, loaded: LoadedModel) -> float:
    """Return the largest difference between onnxruntime and the model, over several shapes."""
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    context = loaded.model.config.context
    whole = _ExportedModel(loaded.model, loaded.layers, loaded.tokenizer.pad_id)
    largest = 0.0
    for lengths in ([context], [context // 2 + 1] * 2, [7] * 5, [1], [context, 9, 1, 8]):
        lengths = [min(length, context) for length in lengths]
        tokens_BL = _tokens(loaded, len(lengths), max(lengths))
        real_BL = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
        tokens_BL[~real_BL] = loaded.tokenizer.pad_id
        with torch.inference_mode():
            expected = whole(tokens_BL)
        outputs = session.run(list(OUTPUTS), {INPUT: tokens_BL.numpy()})
        for output, reference in zip(outputs, expected, strict=True):
            differences = torch.from_numpy(output)[real_BL] - reference[real_BL]
            # No number anywhere: not the same, whatever `max` makes of it.
            largest = max(largest, float(differences.abs().nan_to_num(float("inf")).max()))
    return largest


def _tokens(loaded: LoadedModel, rows: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(rows * length)
    real = real_id_range(loaded.tokenizer)
    return torch.randint(real.start, real.stop, (rows, length), generator=generator)


@contextlib.contextmanager
def _quiet() -> Any:
    """Silence the exporter, which writes to every stream; errors are raised."""
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
