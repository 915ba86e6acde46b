"""Reference outputs of the model of a bundle, computed by a process that has only the bundle.

    python -m genomeformer_cli.core.release.selftest BUNDLE OUTPUTS.safetensors

The file receives vectors and logits of `probe_sequences`. `verify` starts the process.
Shape letters: L length, V vocabulary.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genomeformer_cli.core.embedding.embedder import embed_tokens
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


@torch.inference_mode()
def reference_outputs(loaded: LoadedModel) -> dict[str, Tensor]:
    """Return the vectors of the probes, and the logits of the first window of each."""
    context = min(loaded.model.config.context, MAX_PROBE_LENGTH)
    tokens = [loaded.tokenizer.encode(codes) for codes in probe_sequences(context)]
    vectors = embed_tokens(loaded, tokens, window=context, reporter=SilentReporter())
    answers = {"vectors": torch.from_numpy(vectors)}
    for number, ids in enumerate(tokens):
        ids_1L = torch.from_numpy(ids[:context].astype(np.int64))[None].to(loaded.model.device)
        logits_1LV = loaded.model.logits(loaded.model.hidden(ids_1L, None))
        answers[f"logits {number}"] = logits_1LV[0].float().cpu().contiguous()
    return answers


def main(folder: Path, answers: Path) -> None:
    """Load the bundle, check its seal, and write the reference outputs."""
    check_seal(folder)
    write_tensors(reference_outputs(read_model(folder)), answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
