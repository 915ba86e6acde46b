"""Reference outputs of the model of a bundle, computed by a process that has only the bundle.

    python -m genomeformer_cli.core.release.selftest BUNDLE OUTPUTS.safetensors

The file receives vectors and logits of `probe_sequences`, and predictions of a fine-tuned model.
`verify` starts the process.
Shape letters: L length, V vocabulary.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.embedder import embed_tokens
from genomeformer_cli.core.embedding.options import EmbedOptions
from genomeformer_cli.core.finetuning.checkpoint import SavedTask, read_finetuned
from genomeformer_cli.core.model_io.bundle_layout import is_finetuned
from genomeformer_cli.core.model_io.model_folder import LoadedModel, read_model
from genomeformer_cli.core.model_io.tensors import write_tensors
from genomeformer_cli.core.reporting import SilentReporter
from genomeformer_cli.core.sequence import NUM_REAL_BASES, Codes
from genomeformer_cli.core.store.seal import check_seal

MAX_PROBE_LENGTH = 4_096


def probe_sequences(context: int) -> list[Codes]:
    """Return base codes: one base, a few, a full window, more than one; with N among them."""
    generator = np.random.default_rng(0)
    window = min(context, MAX_PROBE_LENGTH)
    lengths = (57, window, window + 13)
    sequences = [generator.integers(0, NUM_REAL_BASES + 1, n).astype(np.uint8) for n in lengths]
    return [np.zeros(1, dtype=np.uint8), *sequences]


def read_bundled_model(folder: Path) -> tuple[LoadedModel, SavedTask | None]:
    """Load the model of a bundle, with head and task if it was fine-tuned.

    Raises:
        CorruptError: A file does not match its checksum.
        CheckpointError: Weights or head do not fit `config.json`.
    """
    return read_finetuned(folder) if is_finetuned(folder) else (read_model(folder), None)


@torch.inference_mode()
def reference_outputs(loaded: LoadedModel, task: SavedTask | None = None) -> dict[str, Tensor]:
    """Return the vectors of the probes, the logits of the first window of each, and predictions.

    Args:
        loaded: Model, with a head if it has a task.
        task: Task of a fine-tuned model.
    """
    context = min(loaded.model.config.context, MAX_PROBE_LENGTH)
    probes = probe_sequences(context)
    tokens = [loaded.tokenizer.encode(codes) for codes in probes]
    options = EmbedOptions(pool="mean", window=context)
    vectors = embed_tokens(loaded, tokens, options, reporter=SilentReporter())
    answers = {"vectors": torch.from_numpy(vectors)}
    for number, ids in enumerate(tokens):
        if not ids.size:  # A single base is no token of some vocabularies.
            continue
        ids_1L = torch.from_numpy(ids[:context].astype(np.int64))[None].to(loaded.model.device)
        logits_1LV = loaded.model.logits(loaded.model.hidden(ids_1L, None))
        answers[f"logits {number}"] = logits_1LV[0].float().cpu().contiguous()
    if task is not None:
        predictor = task.predictor(loaded.model, loaded.tokenizer, MAX_PROBE_LENGTH)
        for number, values in enumerate(predictor.predict(probes)):
            answers[f"predictions {number}"] = torch.from_numpy(values).contiguous()
    return answers


def main(folder: Path, answers: Path) -> None:
    """Load the bundle, check its seal, and write the reference outputs."""
    check_seal(folder)
    write_tensors(reference_outputs(*read_bundled_model(folder)), answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
