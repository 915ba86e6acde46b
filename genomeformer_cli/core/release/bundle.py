"""The bundle: a model laid out as on the Hub, and the proof that it gives the run's vectors.

model.safetensors  config.json  tokenizer.json  tokenizer_config.json
special_tokens_map.json  README.md  eval_results.json  train_config.toml  SHA256SUMS
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from genomeformer_cli.core.checkpoints.weights import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    LoadedModel,
    read_model,
)
from genomeformer_cli.core.embedding.embedder import embed_tokens
from genomeformer_cli.core.errors import CheckpointError
from genomeformer_cli.core.reporting import Silent
from genomeformer_cli.core.store.atomic import write_text
from genomeformer_cli.core.store.seal import seal
from genomeformer_cli.core.tokenizers.files import TOKENIZER_FILES

CARD_FILE = "README.md"
RESULTS_FILE = "eval_results.json"
TRAIN_CONFIG_FILE = "train_config.toml"
_MODEL_FILES = (WEIGHTS_FILE, CONFIG_FILE, *TOKENIZER_FILES)


def write_bundle(
    folder: Path, *, checkpoint: Path, card: str, results: str, train_config: str
) -> None:
    """Lay out a bundle in an empty folder and seal it."""
    for name in _MODEL_FILES:
        shutil.copyfile(checkpoint / name, folder / name)
    write_text(folder / CARD_FILE, card)
    write_text(folder / RESULTS_FILE, results)
    write_text(folder / TRAIN_CONFIG_FILE, train_config)
    seal(folder)


def verify_bundle(folder: Path, original: LoadedModel) -> float:
    """Load a bundle back and compare its vectors with the original's.

    Returns:
        The largest difference.

    Raises:
        CorruptError: A file does not match its checksum.
        CheckpointError: The vectors differ.
    """
    tokenizer = original.tokenizer
    generator = np.random.default_rng(0)
    lengths = (1, 57, original.model.config.context, original.model.config.context + 13)
    sequences = [tokenizer.encode(generator.integers(0, 5, n).astype(np.uint8)) for n in lengths]
    sequences[0] = tokenizer.encode(np.zeros(1, dtype=np.uint8))
    window = original.model.config.context
    expected = embed_tokens(original, sequences, window=window, reporter=Silent())
    found = embed_tokens(read_model(folder), sequences, window=window, reporter=Silent())
    difference = float(np.abs(expected - found).max())
    if not difference <= 1e-5:
        raise CheckpointError(
            f"the bundle's vectors differ from the run's by {difference:g}",
            hint="this should not happen; please report it",
        )
    return difference
